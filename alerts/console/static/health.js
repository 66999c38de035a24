// What the system says of itself: cameras, Kafka, scorer, windows, and whether this page still hears from it.

import { byId, h, say } from "./build.js";
import * as shapes from "./shapes.js";

const KAFKA = {
  off: { word: "Kafka not configured", tone: "quiet" },
  connected: { word: "Kafka connected", tone: "confirmed" },
  connecting: { word: "Kafka connecting", tone: "review" },
  unreachable: { word: "Kafka unreachable", tone: "critical" },
};
const SCORER = { fallen: "review", failing: "critical" };
const WINDOWS = ["flagged", "alert", "rejected", "merged", "shed"];
const NAMES = { alert: "alerts" };
const WORST_FIRST = ["offline", "connecting", "stopped", "online"];
const LIVE = { live: "Live", connecting: "Connecting", lost: "No connection, trying again" };

export function show(status) {
  say(byId("site"), status.site);
  cameras(status.cameras);
  scorer(status.scorer);
  kafka(status.kafka);
  windows(status.windows, status.shed_reasons);
  nothing(status.cameras);
}

export function live(state) {
  byId("live").dataset.state = state;
  document.body.dataset.live = state;
  say(byId("live"), LIVE[state]);
}

function cameras(lines) {
  const rank = (line) => WORST_FIRST.indexOf(line.state);
  const rows = [...lines].sort((a, b) => rank(a) - rank(b)).map((line) => {
    const meaning = shapes.camera(line);
    const why = line.state === "online" ? "" : line.reason;
    const name = h("b", {}, line.name || line.id);
    const word = h("span", { class: "word" }, meaning.word);
    const reason = why ? h("span", { class: "reason" }, why) : null;
    return h("li", { "data-tone": meaning.tone, title: why || null }, shapes.icon(meaning), name, word, reason);
  });
  const key = JSON.stringify(lines.map(({ id, name, state, reason }) => [id, name, state, reason]));
  if (byId("cameras").dataset.key === key) return;
  byId("cameras").dataset.key = key;
  byId("cameras").replaceChildren(...rows);
}

function scorer(line) {
  const parts = [];
  if (line.state === "failing") parts.push(`No picture is scored: ${line.reason}`);
  if (line.state === "fallen") parts.push(`Pictures are scored on ${line.engine} now: ${line.reason}`);
  if (line.unscored) parts.push(`frames not scored so far: ${line.unscored}`);
  byId("scorer").dataset.tone = SCORER[line.state] ?? "quiet";
  say(byId("scorer"), parts.join(" · "));
}

function kafka(line) {
  const meaning = KAFKA[line.state] ?? { word: "Kafka", tone: "quiet" };
  const node = byId("kafka");
  node.dataset.tone = meaning.tone;
  node.title = line.reason;
  say(node, line.waiting ? `${meaning.word}, ${line.waiting} waiting` : meaning.word);
}

function windows(counts, shed) {
  const rows = WINDOWS.map((key) => h("div", { "data-key": key, "data-some": (counts[key] ?? 0) > 0 },
    h("dd", {}, String(counts[key] ?? 0)), h("dt", {}, NAMES[key] ?? key)));
  byId("windows").replaceChildren(...rows);
  byId("windows").title = Object.entries(shed).map(([why, n]) => `shed, ${why}: ${n}`).join("\n");
}

function nothing(lines) {
  const online = lines.filter((line) => line.state === "online").length;
  const watching = online === lines.length
    ? `${online} ${online === 1 ? "camera is" : "cameras are"} watched.`
    : `${online} of ${lines.length} cameras are watched; what the others see is missed.`;
  say(byId("nothing-why"), `${watching} New alerts appear here by themselves, with the pictures that prove them.`);
}
