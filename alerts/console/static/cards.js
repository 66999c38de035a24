// The list of alerts, newest first. What is on screen never moves because something new arrived.

import { byId, h } from "./build.js";
import * as evidence from "./evidence.js";
import { age, clockTime, share } from "./format.js";
import * as shapes from "./shapes.js";

const MOST = 300;

const nodes = new Map();

export const size = () => nodes.size;

export const has = (id) => nodes.has(id);

/** Alert ids in the order shown. */
export const order = () => [...byId("cards").children].map((node) => node.dataset.id);

/** Puts an alert on top, at the end, or anew where it already stands. True when it was not there before. */
export function put(alert, { top, pick, fresh = false }) {
  const list = byId("cards");
  const known = nodes.get(alert.alert_id);
  if (known) {
    if (known.dataset.revision === String(alert.revision)) return false;
    render(known, alert);
    return false;
  }
  const node = h("li", { "data-id": alert.alert_id, "data-fresh": String(fresh) });
  const button = h("button", { type: "button", class: "card" });
  button.addEventListener("click", () => pick(alert.alert_id));
  node.append(button);
  render(node, alert);
  nodes.set(alert.alert_id, node);
  const before = list.scrollTop;
  const hold = before > 0 || list.contains(document.activeElement);
  if (top) list.prepend(node);
  else list.append(node);
  if (top && hold) list.scrollTop = before + node.getBoundingClientRect().height;
  while (nodes.size > MOST && !list.lastElementChild.querySelector("[aria-current]")) {
    nodes.delete(list.lastElementChild.dataset.id);
    list.lastElementChild.remove();
  }
  return true;
}

function render(node, alert) {
  node.dataset.revision = String(alert.revision);
  const button = node.querySelector("button");
  const piece = evidence.first(alert);
  const face = h("span", { class: "face" });
  face.style.aspectRatio = String(evidence.aspect(alert));
  if (piece) {
    const same = evidence.pieces(alert).filter((other) => other.index === piece.index);
    face.append(...evidence.small(alert, piece.index, same, { alt: "", lazy: true }));
  }
  const time = h("time", { datetime: alert.time.onset }, clockTime(alert.time.onset, alert.site.tz));
  const since = h("span", { class: "age", "data-since": alert.time.onset }, age(alert.time.onset));
  const level = shapes.priority(alert);
  const camera = alert.camera.name || alert.camera.id;
  const named = alert.headline.includes(camera);
  button.replaceChildren(
    face,
    h("span", { class: "words" },
      h("span", { class: "head", lang: alert.lang ?? "en" }, alert.headline),
      named ? null : h("span", { class: "line" }, h("span", { class: "name" }, camera)),
      h("span", { class: "line" }, time, since, h("span", { class: "p" }, share(alert.confidence.p))),
      h("span", { class: "line" }, shapes.chip(level), shapes.chip(shapes.decision(alert))),
    ),
  );
  button.dataset.tone = level.tone;
  button.dataset.state = alert.state;
}

/** Marks the card of the alert on the stage; returns its button. */
export function mark(id) {
  for (const [key, node] of nodes) {
    if (key === id) node.querySelector("button").setAttribute("aria-current", "true");
    else node.querySelector("button").removeAttribute("aria-current");
  }
  const node = nodes.get(id);
  if (node) node.dataset.fresh = "false";
  return node?.querySelector("button");
}

/** The id `step` places further down; the ends hold. */
export function neighbour(id, step) {
  const ids = order();
  const at = ids.indexOf(id);
  return ids[Math.min(ids.length - 1, Math.max(0, at + step))];
}
