// The large picture with its boxes, the clip in its place, the close look, and the strip of evidence.

import { byId, h, say } from "./build.js";
import * as evidence from "./evidence.js";
import { fineTime, percent } from "./format.js";
import { icon } from "./shapes.js";

const KEPT_PICTURES = 24;
const NEAR_S = 0.3;
const LENS_ASPECT = 16 / 9;
const PLAY = { path: "M4 2.5v11l9-5.5z", solid: true };
const still = matchMedia("(prefers-reduced-motion: reduce)");

const pictures = new Map();
let alert = null;
let current = 0;
let playing = false;
let turn = 0;
let onPick = () => {};

/** A decoded picture, kept for the next time; the same file always gives the same element. */
function picture(url) {
  let kept = pictures.get(url);
  if (kept) {
    pictures.delete(url);
  } else {
    const img = new Image();
    img.src = url;
    kept = { img, ready: img.decode() };
    kept.ready.catch(() => pictures.delete(url));
  }
  pictures.set(url, kept);
  for (const old of pictures.keys()) {
    if (pictures.size <= KEPT_PICTURES) break;
    pictures.delete(old);
  }
  return kept;
}

/** Loads what will probably be looked at next. */
export function expect(next) {
  const piece = next && evidence.first(next);
  if (piece) picture(evidence.frameUrl(next, piece.index));
}

export function setUp(pick) {
  onPick = pick;
  const clip = byId("clip");
  clip.addEventListener("timeupdate", follow);
  clip.addEventListener("loadedmetadata", ticks);
  clip.addEventListener("error", () => alert && playing && withhold(evidence.clipUrl(alert)));
  const frame = () => {
    if (playing && !clip.paused) follow();
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}

/** Shows piece `number` of an alert. Picture and boxes change together, never one before the other. */
export async function show(next, number) {
  const another = alert?.alert_id !== next.alert_id;
  const shown = evidence.pieces(next);
  alert = next;
  current = number;
  if (another) {
    stopClip();
    byId("thumbs").replaceChildren();
  }
  strip(shown);
  const piece = shown[number - 1];
  if (!piece) return blank();
  const mine = ++turn;
  const { img, ready } = picture(evidence.frameUrl(next, piece.index));
  try {
    await ready;
  } catch {
    if (mine === turn) await withhold(img.src);
    return;
  }
  if (mine !== turn || playing) return;
  byId("withheld").hidden = true;
  fit(img.naturalWidth / img.naturalHeight);
  img.alt = evidence.describe(piece, shown.length, fineTime(piece.time, next.site.tz));
  if (byId("picture").firstChild !== img) byId("picture").replaceChildren(img);
  drawFrame(shown, piece);
  lens(shown, piece);
}

function drawFrame(shown, piece) {
  const same = shown.filter((other) => other.index === piece.index);
  evidence.draw(byId("overlay"), same, { current: piece.number });
  byId("frame").dataset.shows = "picture";
  say(byId("caption"), `${fineTime(piece.time, alert.site.tz)}  ·  frame ${piece.index}`);
}

function blank() {
  byId("picture").replaceChildren();
  byId("overlay").replaceChildren();
  byId("crop").hidden = true;
  say(byId("caption"), "No picture is bound to this alert.");
}

function fit(ratio) {
  byId("view").style.setProperty("--aspect", String(ratio));
}

/** The server says why: a file that no longer has its hash is not evidence. */
async function withhold(url) {
  const answer = await fetch(url).catch(() => null);
  byId("picture").replaceChildren();
  byId("overlay").replaceChildren();
  byId("crop").hidden = true;
  const why = answer === null ? "the console does not answer" : (await answer.text()).trim().slice(0, 200);
  byId("withheld").replaceChildren(h("b", {}, "Not shown"), answer?.ok ? "this browser cannot display it" : why);
  byId("withheld").hidden = false;
}

// --- the strip -----------------------------------------------------------------------------------------------------

function strip(shown) {
  const list = byId("thumbs");
  const groups = evidence.frames(alert);
  const key = JSON.stringify([alert.alert_id, alert.revision]);
  if (list.dataset.key !== key) {
    list.dataset.key = key;
    list.replaceChildren(clipTile(), ...groups.map((group) => thumb(group, shown.length)));
  }
  for (const button of list.querySelectorAll("button")) {
    const mine = button.dataset.pieces?.split(" ").includes(String(current)) ?? false;
    button.setAttribute("aria-pressed", String(playing ? button.dataset.clip === "true" : mine));
  }
}

function thumb(group, count) {
  const zone = alert.site.tz;
  const img = h("img", { src: evidence.frameUrl(alert, group.index), decoding: "async", draggable: "false" });
  img.alt = group.pieces.map((piece) => evidence.describe(piece, count, fineTime(group.time, zone))).join("; ");
  const overlay = h("div", { class: "overlay" });
  evidence.draw(overlay, group.pieces, { labels: false });
  const numbers = h("span", { class: "numbers" }, ...group.pieces.map((p) => h("b", {}, String(p.number))));
  const face = h("span", { class: "face" }, img, overlay, numbers);
  face.style.aspectRatio = String(evidence.aspect(alert));
  const button = h("button", { type: "button", "data-pieces": group.pieces.map((p) => p.number).join(" ") }, face);
  button.append(h("span", { class: "stamp" }, fineTime(group.time, zone)));
  button.addEventListener("click", () => onPick(group.pieces[0].number));
  return h("li", {}, button);
}

function clipTile() {
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
  loop.addEventListener("error", () => unplayable(button, clip));
  face.append(loop, h("span", { class: "play" }, icon(PLAY)));
  const seconds = (Date.parse(clip.end) - Date.parse(clip.start)) / 1000;
  const label = `Clip ${Number.isFinite(seconds) ? `${seconds.toFixed(0)} s` : ""}`;
  const button = h("button", { type: "button", "data-clip": "true", "aria-keyshortcuts": "Space" }, face);
  button.append(h("span", { class: "stamp" }, label, h("kbd", {}, "Space")));
  button.addEventListener("click", toggleClip);
  return h("li", {}, button);
}

/** The camera's own packets are kept as they came; not every browser plays every codec. */
function unplayable(button, clip) {
  const file = h("a", { href: evidence.clipUrl(alert), download: "clip.mp4" }, `${clip.codec} clip: save it and open it in a player`);
  button.replaceWith(h("span", { class: "face" }, h("span", { class: "absent" }, file)));
}

// --- the close look ------------------------------------------------------------------------------------------------

function lens(shown, piece) {
  const figure = byId("crop");
  figure.hidden = !piece.boxes.length;
  if (figure.hidden) return;
  const [x, y, width, height] = around(piece.boxes[0], evidence.aspect(alert));
  const img = h("img", { src: evidence.frameUrl(alert, piece.index), decoding: "async", draggable: "false" });
  img.alt = `Close look at ${piece.label || "the box"}, evidence ${piece.number}`;
  const overlay = h("div", { class: "overlay" });
  evidence.draw(overlay, [piece], { labels: false });
  const sheet = h("div", { class: "sheet" }, img, overlay);
  sheet.style.width = `${100 / width}%`;
  sheet.style.height = `${100 / height}%`;
  sheet.style.left = `${(-100 * x) / width}%`;
  sheet.style.top = `${(-100 * y) / height}%`;
  figure.querySelector(".lens").replaceChildren(sheet);
  figure.querySelector("figcaption").replaceChildren(h("b", {}, String(piece.number)), piece.label || "close look");
}

/** Part of the frame around a box, in the shape of the lens: [x, y, width, height] in 0..1. */
function around([x1, y1, x2, y2], ratio) {
  const scale = ratio / LENS_ASPECT;
  const width = Math.min(1, 1 / scale, Math.max(0.12, 1.5 * (x2 - x1), (1.35 * (y2 - y1)) / scale));
  const height = width * scale;
  const inside = (centre, size) => Math.min(1 - size, Math.max(0, centre - size / 2));
  return [inside((x1 + x2) / 2, width), inside((y1 + y2) / 2, height), width, height];
}

// --- the clip ------------------------------------------------------------------------------------------------------

/** Plays the clip where the picture is; once there, pauses and goes on. */
export function toggleClip() {
  if (alert?.media.clip?.status !== "ready") return;
  const clip = byId("clip");
  if (playing) {
    if (clip.paused) clip.play().catch(() => {});
    else clip.pause();
    return;
  }
  playing = true;
  turn += 1;
  if (clip.getAttribute("src") !== evidence.clipUrl(alert)) clip.src = evidence.clipUrl(alert);
  fit(evidence.aspect(alert));
  clip.setAttribute("aria-label", `Clip of ${alert.headline}`);
  clip.hidden = byId("timeline").hidden = false;
  byId("withheld").hidden = true;
  byId("frame").dataset.shows = "clip";
  ticks();
  strip(evidence.pieces(alert));
  clip.play().catch(() => {});
}

/** True when the clip was on the stage. */
export function stopClip() {
  const was = playing;
  const clip = byId("clip");
  playing = false;
  clip.pause();
  clip.hidden = byId("timeline").hidden = true;
  if (alert && clip.getAttribute("src") !== evidence.clipUrl(alert)) {
    clip.removeAttribute("src");
    clip.load();
  }
  return was;
}

const second = (time) => (Date.parse(time) - Date.parse(alert.media.clip.start)) / 1000;

function ticks() {
  const clip = byId("clip");
  if (!alert || !playing || !clip.duration) return;
  const marks = evidence.frames(alert).map((group) => {
    const mark = h("b", {}, group.pieces.map((piece) => piece.number).join(" "));
    mark.style.left = percent(second(group.time) / clip.duration);
    return mark;
  });
  byId("timeline").replaceChildren(byId("timeline").firstElementChild, ...marks);
}

/** Boxes belong to instants: they are drawn only while the clip is at theirs. */
function follow() {
  if (!playing || !alert) return;
  const clip = byId("clip");
  const near = evidence.pieces(alert).filter((piece) => Math.abs(second(piece.time) - clip.currentTime) < NEAR_S);
  const key = near.map((piece) => piece.number).join(" ");
  const overlay = byId("overlay");
  if (overlay.dataset.near !== key || !near.length !== !overlay.childElementCount) {
    overlay.dataset.near = key;
    evidence.draw(overlay, near);
  }
  byId("timeline").firstElementChild.style.width = percent(clip.currentTime / (clip.duration || 1));
  const at = new Date(Date.parse(alert.media.clip.start) + 1000 * clip.currentTime);
  say(byId("caption"), `${fineTime(at, alert.site.tz)}  ·  clip`);
}
