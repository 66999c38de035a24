// The words and numbers beside the picture.

import { byId, h, say } from "./build.js";
import * as evidence from "./evidence.js";
import {
  age, clockName, componentName, confidenceWord, cost, fineTime, fullTime, percent, reason, recheckName, share,
} from "./format.js";
import * as shapes from "./shapes.js";

export function title(alert) {
  byId("priority").replaceChildren(shapes.chip(shapes.priority(alert), `${shapes.priority(alert).word} priority`));
  byId("decision").replaceChildren(shapes.chip(shapes.decision(alert)));
  say(byId("headline"), alert.headline);
  byId("headline").lang = alert.lang ?? "en";
  byId("headline").dataset.state = alert.state;
  const place = alert.camera.place?.name;
  say(byId("camera"), [alert.camera.name || alert.camera.id, place].filter(Boolean).join(", "));
  byId("when").dateTime = alert.time.onset;
  say(byId("when"), fullTime(alert.time.onset, alert.site.tz));
  byId("age").dataset.since = alert.time.onset;
  say(byId("age"), age(alert.time.onset));
  const clock = alert.time.clock;
  const off = clock.uncertainty_ms;
  const width = off >= 1000 ? `${(off / 1000).toFixed(1)} s` : `${Math.round(off)} ms`;
  say(byId("clock"), `± ${width}, ${clockName(clock.source)}`);
}

export function facts(alert, pick) {
  confidence(alert);
  claims(alert, pick);
  counter(alert);
  components(alert);
  rechecks(alert);
  review(alert);
  about(alert);
}

/** Marks the claims that rest on the piece now shown. */
export function mark(alert, number) {
  const piece = evidence.pieces(alert)[number - 1];
  for (const button of byId("claims").querySelectorAll("button")) {
    const shown = piece?.claims.some((claim) => spanKey(claim) === button.dataset.claim) ?? false;
    button.setAttribute("aria-pressed", String(shown));
  }
}

function confidence(alert) {
  const { p, interval } = alert.confidence;
  const threshold = alert.decision.threshold;
  const [band, limit, point] = ["band", "limit", "point"].map((name) => h("i", { class: name }));
  band.style.left = percent(interval[0]);
  band.style.width = percent(interval[1] - interval[0]);
  limit.style.left = percent(threshold);
  point.style.left = percent(p);
  const word = `${confidenceWord(p)} confidence`;
  const range = `90 % between ${share(interval[0])} and ${share(interval[1])}`;
  const tone = shapes.decision(alert).tone;
  byId("confidence").replaceChildren(
    h("p", { class: "number", "data-tone": tone }, h("b", {}, share(p)), h("span", {}, word)),
    h("div", { class: "bar", "aria-hidden": "true" }, band, limit, point),
    h("p", { class: "range" }, range, h("span", {}, `review below ${share(threshold)}`)),
    ...(alert.decision.reasons ?? []).map((key) => h("p", { class: "why", "data-tone": tone }, reason(key))),
  );
}

function claims(alert, pick) {
  const sentences = new Map();
  for (const claim of alert.claims) sentences.set(spanKey(claim), [...(sentences.get(spanKey(claim)) ?? []), claim]);
  const said = [...sentences.values()].map(([claim]) => claim.text).join(" ");
  const plain = (text) => text.replaceAll(/[\s.。]+/g, "").toLowerCase();
  byId("summary").hidden = plain(said) === plain(alert.summary);
  byId("summary").lang = byId("claims").lang = alert.lang ?? "en";
  say(byId("summary"), alert.summary);
  const numbers = new Map(alert.evidence.map((piece, i) => [piece.id, i + 1]));
  const rows = [...sentences.values()].map((same) => sentence(alert, same, numbers, pick));
  byId("claims").replaceChildren(...rows);
}

/** Claims made by one sentence, as person and bag of "a person leaves a bag", stand at one place of the summary. */
const spanKey = (claim) => claim.span.join("-");

function sentence(alert, same, numbers, pick) {
  const meaning = shapes.verdict(same);
  const ids = [...new Set(same.flatMap((claim) => claim.evidence_ids))];
  const its = ids.map((id) => numbers.get(id)).filter(Boolean).sort((a, b) => a - b);
  const time = its.length ? fineTime(alert.evidence[its[0] - 1].time, alert.site.tz) : "";
  const badges = its.map((n) => h("b", { class: "n", "data-number": n }, String(n)));
  const foot = h("span", { class: "foot" }, shapes.chip(meaning), ...badges, h("span", { class: "at" }, time));
  const text = h("span", { class: "text" }, same[0].text);
  const marks = { type: "button", "data-claim": spanKey(same[0]), "data-verdict": meaning.tone };
  const button = h("button", marks, text, foot);
  // A claim without evidence is words only: there is nothing to move the picture to.
  button.disabled = !its.length;
  button.addEventListener("click", (event) => pick(Number(event.target.dataset.number ?? its[0])));
  button.addEventListener("focus", () => pick(its[0]));
  return h("li", {}, button);
}

function counter(alert) {
  const found = alert.counter_evidence ?? [];
  byId("counter").hidden = !found.length;
  byId("counter").querySelector("ul").replaceChildren(...found.map((piece) => against(alert, piece)));
}

function against(alert, piece) {
  const index = piece.frame.index_in_window;
  const time = fineTime(piece.time, alert.site.tz);
  const face = h("span", { class: "face" });
  face.style.aspectRatio = String(evidence.aspect(alert));
  const url = evidence.counterUrl(alert, index);
  face.append(...evidence.small(alert, index, [], { alt: `${time}, argues against the alert`, lazy: true, url }));
  const note = piece.note ?? piece.boxes[0]?.label ?? "";
  return h("li", {}, face, h("span", { class: "words" }, h("span", { class: "at" }, time), note));
}

function components(alert) {
  const rows = Object.entries(alert.confidence.components).filter(([, value]) => Number.isFinite(value));
  byId("components").replaceChildren(...rows.map(([key, value]) => {
    const bar = h("i", {});
    bar.style.width = percent(value);
    const mini = h("span", { class: "mini", "aria-hidden": "true" }, bar);
    return h("div", {}, h("dt", {}, componentName(key)), h("dd", {}, mini, share(value)));
  }));
}

/** Where the model was asked once more: what it was shown, what came of it, what it cost. */
function rechecks(alert) {
  const made = alert.confidence.rechecks ?? [];
  byId("rechecks").hidden = !made.length;
  byId("rechecks").querySelector("dl").replaceChildren(...made.map((one) => {
    const worth = (one.outcome ?? "answered") === "answered" ? [share(one.score)] : [];
    const result = [shapes.chip(shapes.check(one)), ...worth, h("span", { class: "cost" }, cost(one))];
    return h("div", { "data-kind": one.kind }, h("dt", {}, recheckName(one.kind)), h("dd", {}, ...result));
  }));
}

const REVIEW = {
  none: "Nobody has judged this alert yet.",
  claimed: "Somebody is looking at it",
  confirmed: "Confirmed",
  rejected: "Rejected",
  escalated: "Escalated",
  unsure: "Left to a colleague",
};

function review(alert) {
  const { status, by, at, reason: why } = alert.review;
  const known = Object.hasOwn(REVIEW, status) ? REVIEW[status] : status;
  const who = by ? `, ${by}` : "";
  const when = at ? `, ${fullTime(at, alert.site.tz)}` : "";
  say(byId("review-state"), `${known}${who}${when}${why ? `: ${why}` : ""}`);
  const told = alert.guidance?.instructions;
  byId("guidance").hidden = !told;
  say(byId("guidance"), told ?? "");
}

function about(alert) {
  const { coverage, confidence: { calibration }, provenance } = alert;
  const missing = coverage.expected - coverage.decoded;
  const gaps = coverage.gaps?.length ?? 0;
  const reasoner = provenance.reasoner ?? {};
  const partly = `${coverage.decoded} of ${coverage.expected}, ${gaps} gaps`;
  const rows = [
    ["Question", alert.rule.question],
    ["Rule", alert.rule.name || alert.rule.id],
    ["Told after", `${(alert.time.latency_ms.total / 1000).toFixed(1)} s`],
    ["Frames", missing > 0 || gaps ? partly : `${coverage.decoded}, none missing`],
    ["State", { closed: "Over, nothing more came", retracted: "Retracted" }[alert.state] ?? null],
    ["Repeats", alert.occurrences > 1 ? `${alert.occurrences} merged into this one` : null],
    ["Calibration", `${calibration.method}, error ${share(calibration.ece)} on ${calibration.n}`],
    ["Model", reasoner.name],
    ["Alert", `${alert.alert_id}, revision ${alert.revision}`],
  ];
  byId("about").replaceChildren(...rows.filter(([, text]) => text).map(([name, text]) =>
    h("div", { "data-bad": name === "Frames" && missing > 0 }, h("dt", {}, name), h("dd", {}, text))));
}
