// The large picture with its boxes, and the clip in its place.

import { byId, h, say } from "./build.js";
import * as evidence from "./evidence.js";
import { fineTime, percent } from "./format.js";
import * as lens from "./lens.js";
import * as strip from "./strip.js";

const KEPT_PICTURES = 24;
const NEAR_S = 0.3;

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
  clip.addEventListener("play", eachFrame);
}

/** `timeupdate` comes four times a second, too seldom for boxes that stand for half a second. */
function eachFrame() {
  follow();
  if (playing && !byId("clip").paused) requestAnimationFrame(eachFrame);
}

/** Shows piece `number` of an alert. Picture and boxes change together, never one before the other. */
export async function show(next, number) {
  const another = alert?.alert_id !== next.alert_id;
  const shown = evidence.pieces(next);
  alert = next;
  current = number;
  const mine = ++turn;
  if (another) {
    stopClip();
    blank(""); // never the last alert's picture under this one's headline; a picture loaded before is back at once
  }
  showStrip(shown);
  const piece = shown[number - 1];
  if (!piece) return blank("No picture is bound to this alert.");
  const { img, ready } = picture(evidence.frameUrl(next, piece.index));
  try {
    await ready;
  } catch {
    return mine === turn ? withhold(img.src) : undefined;
  }
  if (mine !== turn || playing) return;
  byId("withheld").hidden = true;
  fit(img.naturalWidth / img.naturalHeight);
  img.alt = evidence.describe(piece, shown.length, fineTime(piece.time, next.site.tz));
  if (byId("picture").firstChild !== img) byId("picture").replaceChildren(img);
  drawFrame(shown, piece);
  lens.show(alert, piece);
}

const showStrip = (shown) =>
  strip.show(alert, shown, playing ? "clip" : current, { piece: onPick, clip: toggleClip });

function drawFrame(shown, piece) {
  const same = shown.filter((other) => other.index === piece.index);
  evidence.draw(byId("overlay"), same, { current: piece.number });
  byId("frame").dataset.shows = "picture";
  say(byId("caption"), `${fineTime(piece.time, alert.site.tz)}  ·  frame ${piece.index}`);
}

function blank(words) {
  byId("picture").replaceChildren();
  byId("overlay").replaceChildren();
  byId("crop").hidden = byId("withheld").hidden = true;
  say(byId("caption"), words);
}

function fit(ratio) {
  byId("view").style.setProperty("--aspect", String(ratio));
}

/** The server says why: a file that no longer has its hash is not evidence. */
async function withhold(url) {
  const mine = turn;
  const answer = await fetch(url).catch(() => null);
  const why = answer === null ? "the console does not answer" : (await answer.text()).trim().slice(0, 200);
  if (mine !== turn) return;
  blank("");
  byId("withheld").replaceChildren(h("b", {}, "Not shown"), answer?.ok ? "this browser cannot display it" : why);
  byId("withheld").hidden = false;
}

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
  showStrip(evidence.pieces(alert));
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
