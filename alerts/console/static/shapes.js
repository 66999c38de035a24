// Shapes that carry a meaning together with a word: never colour alone.

import { h, svg } from "./build.js";

const PRIORITY = {
  1: { word: "Critical", tone: "critical", path: "M5.5 1h5L15 5.5v5L10.5 15h-5L1 10.5v-5z M8 4.4v4.6 M8 11v1.2" },
  2: { word: "High", tone: "high", path: "M8 1.5 15.2 14.5H.8z" },
  3: { word: "Low", tone: "low", path: "M2 2h12v12H2z" },
  4: { word: "Info", tone: "info", path: "M8 1.5a6.5 6.5 0 1 0 .01 0z" },
};
const DECISION = {
  confirmed: { word: "Confirmed", tone: "confirmed", path: "M2.5 8.5 6.3 12.3 13.5 4" },
  needs_review: {
    word: "Needs review",
    tone: "review",
    path: "M1 8s2.6-4.8 7-4.8S15 8 15 8s-2.6 4.8-7 4.8S1 8 1 8z M8 6a2 2 0 1 0 .01 0z",
  },
  rejected: { word: "Rejected", tone: "rejected", path: "M3.5 3.5l9 9M12.5 3.5l-9 9" },
};
const RETRACTED = { word: "Retracted", tone: "quiet", path: "M6 2.5 2.5 6 6 9.5 M3 6h6.5a4 4 0 0 1 0 8H6" };
const VERDICT = {
  supported: { word: "supported", tone: "confirmed", path: DECISION.confirmed.path },
  contradicted: { word: "contradicted", tone: "critical", path: DECISION.rejected.path },
  unverified: { word: "not verified", tone: "quiet", path: "M4 8h8" },
};
const CHECK = {
  supported: { ...VERDICT.supported, word: "bears it out" },
  contradicted: { ...VERDICT.contradicted, word: "speaks against it" },
  unchecked: { ...VERDICT.unverified, word: "says nothing" },
};
/** In place of what a check says, where it could say nothing. */
const OUTCOME = {
  unclear: { ...VERDICT.unverified, word: "no clear answer" },
  failed: { ...VERDICT.unverified, word: "failed" },
};
const CAMERA = {
  online: { word: "online", tone: "confirmed", path: "M8 3a5 5 0 1 0 .01 0z", solid: true },
  connecting: { word: "connecting", tone: "review", path: "M8 3a5 5 0 1 0 .01 0z" },
  offline: { word: "offline", tone: "critical", path: DECISION.rejected.path },
  stopped: { word: "stopped", tone: "quiet", path: "M4 4h8v8H4z", solid: true },
};
const OTHER = { word: "unknown", tone: "quiet", path: "M4 8h8" };

const kind = (table, key) => (Object.hasOwn(table, key) ? table[key] : OTHER);

export const priority = (alert) => kind(PRIORITY, alert.priority);
/** What the machine makes of an alert by now: that it was taken back comes before what was decided once. */
export const decision = (alert) =>
  alert.state === "retracted" ? RETRACTED : kind(DECISION, alert.decision.status);
export const check = (recheck) =>
  Object.hasOwn(OUTCOME, recheck.outcome) ? OUTCOME[recheck.outcome] : kind(CHECK, recheck.status);
/** Of the claims that one sentence makes: their common verdict, or how many of them are supported. */
export function verdict(claims) {
  if (claims.every((claim) => claim.verdict === claims[0].verdict)) return kind(VERDICT, claims[0].verdict);
  const supported = claims.filter((claim) => claim.verdict === "supported").length;
  return { ...DECISION.needs_review, word: `${supported} of ${claims.length} supported` };
}
export const camera = (line) => kind(CAMERA, line.state);

export function icon({ path, solid }) {
  const shape = svg("path", { d: path, class: solid ? "solid" : null });
  return svg("svg", { viewBox: "0 0 16 16", class: "icon", "aria-hidden": "true" }, shape);
}

/** Shape and word in the tone of their meaning. */
export const chip = (meaning, word = meaning.word) =>
  h("span", { class: "chip", "data-tone": meaning.tone }, icon(meaning), word);
