// The operator's page: what is known, what is looked at, and the keys.

import { byId, say } from "./build.js";
import * as cards from "./cards.js";
import * as evidence from "./evidence.js";
import * as facts from "./facts.js";
import { age, confidenceWord, share } from "./format.js";
import * as health from "./health.js";
import { follow } from "./live.js";
import * as stage from "./stage.js";

const AHEAD = 5;

const known = new Map();
const waiting = new Set();
let selected = null;
let number = 1;
let picked = false;
let unseen = 0;
let next = null;
let fetching = false;

// --- what is looked at ---------------------------------------------------------------------------------------------

/** Puts an alert on the stage. `byHand`: the operator chose it, so nothing may take it away. */
function select(id, { byHand = true, focus = false } = {}) {
  const alert = known.get(id);
  if (!alert) return;
  picked ||= byHand;
  const another = selected !== id;
  selected = id;
  byId("desk").dataset.empty = "false";
  const card = cards.mark(id);
  if (focus) card?.focus({ preventScroll: true });
  if (byHand) card?.scrollIntoView({ block: "nearest", inline: "nearest" });
  if (id === cards.order()[0]) newer(0);
  if (another) stage.stopClip();
  if (another || !alert.evidence[number - 1]) number = evidence.first(alert)?.number ?? 1;
  facts.title(alert);
  facts.facts(alert, pick);
  facts.mark(alert, number);
  stage.show(alert, number);
  const ids = cards.order();
  const at = ids.indexOf(id);
  for (const other of ids.slice(at + 1, at + 1 + AHEAD)) stage.expect(known.get(other));
}

/** Moves the picture to piece `n` of the alert on the stage. */
function pick(n) {
  const alert = known.get(selected);
  if (!alert?.evidence[n - 1]) return;
  const was = stage.stopClip();
  if (n === number && !was) return;
  number = n;
  facts.mark(alert, number);
  stage.show(alert, number);
}

// --- what is known -------------------------------------------------------------------------------------------------

async function read(url) {
  const answer = await fetch(url, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return answer.json();
}

function learn(alert, { top, fresh }) {
  const before = known.get(alert.alert_id);
  if (before && before.revision > alert.revision) return;
  known.set(alert.alert_id, alert);
  const added = cards.put(alert, { top, fresh, pick: select });
  // A card that fell off the end of the list takes its record along.
  for (const id of known.keys()) if (known.size > cards.size() && !cards.has(id)) known.delete(id);
  if (added && fresh) announce(alert);
  if (before?.state === "open" && alert.state === "retracted") say(byId("said"), `Retracted: ${alert.headline}`);
  if (!added && alert.alert_id === selected && before.revision !== alert.revision) refresh(alert);
}

/** A new revision of the alert on the stage: the words change, what is looked at stays. */
function refresh(alert) {
  const claim = document.activeElement?.dataset?.claim;
  select(alert.alert_id, { byHand: false });
  const again = [...byId("claims").querySelectorAll("button")].find((button) => button.dataset.claim === claim);
  if (claim) again?.focus();
}

function announce(alert) {
  const { p } = alert.confidence;
  const words = [alert.headline, alert.camera.name || alert.camera.id, `${confidenceWord(p)} confidence ${share(p)}`];
  say(byId(alert.priority === 1 ? "urgent" : "said"), `New alert: ${words.join(", ")}`);
  if (selected !== null) newer(unseen + 1);
}

function newer(count) {
  unseen = count;
  byId("newer").hidden = !count;
  say(byId("newer"), `${count} new ↑`);
  document.title = count ? `(${count}) Witness` : "Witness";
}

/** The first page. Oldest first onto the top, so that what is already shown stays where it is. */
async function readNewest() {
  const started = cards.size() === 0;
  const page = await read("/alerts");
  if (started) next = page.next;
  const rows = started ? page.alerts : [...page.alerts].reverse();
  for (const alert of rows) learn(alert, { top: !started, fresh: !started });
  byId("older").hidden = next === null;
  await readLinked();
  if (selected === null && page.alerts.length) select(page.alerts[0].alert_id, { byHand: false });
}

/** An address like /alerts/{id} opens the page at that alert, also when it is too old for the first page. */
async function readLinked() {
  const id = location.pathname.match(/^\/alerts\/([0-9a-f-]{36})$/)?.[1];
  if (!id || selected !== null) return;
  if (!known.has(id)) learn(await read(`/alerts/${id}`), { top: false, fresh: false });
  select(id);
}

async function readOlder() {
  const page = await read(`/alerts?before=${encodeURIComponent(next)}`);
  next = page.next;
  for (const alert of page.alerts) learn(alert, { top: false, fresh: false });
  byId("older").hidden = next === null;
}

/** Reads changed alerts one after the other; several changes of one alert need one reading. */
async function readChanged() {
  if (fetching) return;
  fetching = true;
  try {
    while (waiting.size) {
      const id = waiting.values().next().value;
      waiting.delete(id);
      learn(await read(`/alerts/${encodeURIComponent(id)}`), { top: true, fresh: true });
      if (selected === null) select(id, { byHand: false });
    }
  } finally {
    fetching = false;
  }
}

const orSay = (promise) => promise.catch((error) => say(byId("said"), `Could not read the alerts: ${error.message}`));

// --- keys ----------------------------------------------------------------------------------------------------------

const KEYS = {
  j: () => select(cards.neighbour(selected, 1), { focus: true }),
  k: () => select(cards.neighbour(selected, -1), { focus: true }),
  " ": () => stage.toggleClip(),
  b: () => document.body.toggleAttribute("data-boxes-off"),
  "?": () => byId("help").showModal(),
};
KEYS.arrowdown = KEYS.j;
KEYS.arrowup = KEYS.k;

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  const key = event.key.toLowerCase();
  if (key === "escape" && stage.stopClip()) {
    stage.show(known.get(selected), number);
    return;
  }
  if (!byId("keys-on").checked) return;
  if (/^[1-9]$/.test(key)) pick(Number(key));
  else if (Object.hasOwn(KEYS, key)) {
    if (selected === null && key !== "?") return;
    event.preventDefault();
    KEYS[key]();
  }
}

// A button acts when the space bar comes up again; here that key belongs to the clip.
function onKeyUp(event) {
  const ours = event.key === " " && byId("keys-on").checked;
  if (ours && event.target.closest("#cards, #thumbs, #claims")) event.preventDefault();
}

// --- start ---------------------------------------------------------------------------------------------------------

stage.setUp(pick);
document.addEventListener("keydown", onKey);
document.addEventListener("keyup", onKeyUp);
byId("help-open").addEventListener("click", () => byId("help").showModal());
byId("older").addEventListener("click", () => orSay(readOlder()));
byId("newer").addEventListener("click", () => {
  byId("cards").scrollTop = 0;
  select(cards.order()[0], { focus: true });
});
byId("keys-on").checked = localStorage.getItem("single-keys") !== "off";
byId("keys-on").addEventListener("change", (event) => {
  localStorage.setItem("single-keys", event.target.checked ? "on" : "off");
});
setInterval(() => {
  for (const node of document.querySelectorAll("[data-since]")) say(node, age(node.dataset.since));
}, 1000);

follow({
  hello: (resumed) => resumed || orSay(readNewest()),
  alert: ({ alert_id: id }) => {
    waiting.add(id);
    orSay(readChanged());
  },
  status: health.show,
  state: health.live,
});
