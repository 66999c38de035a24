// The strip under the picture: the clip and each evidence frame, small.

import { byId, h } from "./build.js";
import * as evidence from "./evidence.js";
import { fineTime } from "./format.js";
import { icon } from "./shapes.js";

const PLAY = { path: "M4 2.5v11l9-5.5z", solid: true };
const still = matchMedia("(prefers-reduced-motion: reduce)");

/** `current` is the number of the piece on the stage, or "clip". */
export function show(alert, shown, current, acts) {
  const list = byId("thumbs");
  const groups = evidence.frames(alert);
  const key = JSON.stringify([alert.alert_id, alert.revision]);
  if (list.dataset.key !== key) {
    list.dataset.key = key;
    const thumbs = groups.map((group) => thumb(alert, group, shown.length, acts.piece));
    list.replaceChildren(clipTile(alert, acts.clip), ...thumbs);
  }
  for (const button of list.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.shows.split(" ").includes(String(current))));
  }
}

function thumb(alert, group, count, pick) {
  const zone = alert.site.tz;
  const alt = group.pieces.map((piece) => evidence.describe(piece, count, fineTime(group.time, zone))).join("; ");
  const numbers = h("span", { class: "numbers" }, ...group.pieces.map((p) => h("b", {}, String(p.number))));
  const face = h("span", { class: "face" }, ...evidence.small(alert, group.index, group.pieces, { alt }), numbers);
  face.style.aspectRatio = String(evidence.aspect(alert));
  const button = h("button", { type: "button", "data-shows": group.pieces.map((p) => p.number).join(" ") }, face);
  button.append(h("span", { class: "stamp" }, fineTime(group.time, zone)));
  button.addEventListener("click", () => pick(group.pieces[0].number));
  return h("li", {}, button);
}

function clipTile(alert, toggle) {
  const clip = alert.media.clip ?? { status: "none" };
  const face = h("span", { class: "face" });
  face.style.aspectRatio = String(evidence.aspect(alert));
  if (clip.status !== "ready") {
    const words = { pending: "clip is being written", failed: "clip could not be written" };
    face.append(h("span", { class: "absent" }, words[clip.status] ?? "no clip"));
    return h("li", { class: "noclip" }, face, h("span", { class: "stamp" }, "Clip"));
  }
  const loop = h("video", { src: evidence.clipUrl(alert), playsinline: true, loop: true, tabindex: "-1" });
  loop.muted = true;
  loop.autoplay = !still.matches;
  loop.addEventListener("error", () => unplayable(alert, button));
  face.append(loop, h("span", { class: "play" }, icon(PLAY)));
  const seconds = (Date.parse(clip.end) - Date.parse(clip.start)) / 1000;
  const label = `Clip ${Number.isFinite(seconds) ? `${seconds.toFixed(0)} s` : ""}`;
  const button = h("button", { type: "button", "data-shows": "clip", "aria-keyshortcuts": "Space" }, face);
  button.append(h("span", { class: "stamp" }, label, h("kbd", {}, "Space")));
  button.addEventListener("click", toggle);
  return h("li", {}, button);
}

/** The camera's own packets are kept as they came; not every browser plays every codec. */
function unplayable(alert, button) {
  const words = `${alert.media.clip.codec} clip: save it and open it in a player`;
  const file = h("a", { href: evidence.clipUrl(alert), download: "clip.mp4" }, words);
  button.replaceWith(h("span", { class: "face" }, h("span", { class: "absent" }, file)));
}
