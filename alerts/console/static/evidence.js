// The evidence of an alert: numbered pieces, the frames they lie in, the boxes over a picture.

import { h } from "./build.js";
import { percent } from "./format.js";

export const frameUrl = (alert, index) => `/alerts/${encodeURIComponent(alert.alert_id)}/frames/${Number(index)}.jpg`;

export const counterUrl = (alert, index) =>
  `/alerts/${encodeURIComponent(alert.alert_id)}/counter/${Number(index)}.jpg`;

export const clipUrl = (alert) => `/alerts/${encodeURIComponent(alert.alert_id)}/clip.mp4`;

/** Pieces in the order of their numbers 1, 2, …; `claims` are those that rest on the piece. */
export function pieces(alert) {
  return alert.evidence.map((piece, i) => ({
    number: i + 1,
    index: piece.frame.index_in_window,
    time: piece.time,
    label: piece.boxes[0]?.label ?? piece.note ?? "",
    boxes: piece.boxes.map((one) => one.box),
    supported: piece.check?.status === "supported",
    contradicted: piece.check?.status === "contradicted",
    check: piece.check,
    claims: alert.claims.filter((claim) => claim.evidence_ids.includes(piece.id)),
  }));
}

/** Distinct frames by time, each with the pieces that lie in it. */
export function frames(alert) {
  const found = new Map();
  for (const piece of pieces(alert)) {
    if (!found.has(piece.index)) found.set(piece.index, { index: piece.index, time: piece.time, pieces: [] });
    found.get(piece.index).pieces.push(piece);
  }
  return [...found.values()].sort((a, b) => a.index - b.index);
}

/** The piece shown first: nearest to the peak, supported ones before others. */
export function first(alert) {
  const peak = Date.parse(alert.time.peak);
  const distance = (piece) => Math.abs(Date.parse(piece.time) - peak) + (piece.supported ? 0 : 1e9);
  return pieces(alert).reduce((best, piece) => (best && distance(best) <= distance(piece) ? best : piece), null);
}

/** Width over height of the displayed frame. */
export const aspect = (alert) => alert.camera.frame_size.w / alert.camera.frame_size.h || 16 / 9;

function side(box) {
  const x = (box[0] + box[2]) / 2;
  return x < 0.36 ? "left" : x > 0.64 ? "right" : "middle";
}

/** What a picture shows, in words. */
export function describe(piece, count, time) {
  const where = piece.boxes.length ? `${piece.label || "object"}, ${side(piece.boxes[0])} of the picture` : piece.label;
  const said = piece.claims[0] ? `: ${piece.claims[0].text}` : "";
  return `${time}, ${where}, evidence ${piece.number} of ${count}${said}`;
}

/** A small picture with its boxes; both give way to words when the server withholds the picture. */
export function small(alert, index, shown, { alt, lazy = false, url = frameUrl(alert, index) }) {
  const loading = lazy ? "lazy" : null;
  const img = h("img", { src: url, alt, loading, decoding: "async", draggable: "false" });
  const overlay = h("div", { class: "overlay" });
  draw(overlay, shown, { labels: false });
  img.addEventListener("error", () => {
    overlay.remove();
    img.replaceWith(h("span", { class: "absent" }, "not shown"));
  });
  return [img, overlay];
}

/** Draws the boxes of pieces over a picture; they are percentages of it, so they stay aligned at any size. */
export function draw(overlay, shown, { current = null, labels = true } = {}) {
  const boxes = shown.flatMap((piece) => piece.boxes.map((box) => outline(box, piece, current, labels)));
  overlay.replaceChildren(...boxes);
}

function outline([x1, y1, x2, y2], piece, current, labels) {
  const node = h("div", {
    class: "box",
    "data-piece": piece.number,
    "data-check": piece.supported ? "supported" : piece.contradicted ? "contradicted" : "unchecked",
    "data-current": String(current === null || current === piece.number),
  });
  node.style.left = percent(x1);
  node.style.top = percent(y1);
  node.style.width = percent(x2 - x1);
  node.style.height = percent(y2 - y1);
  if (labels) {
    const place = (y1 < 0.09 ? "inside" : "above") + (x1 > 0.8 ? " end" : "");
    const words = [h("b", {}, String(piece.number)), h("span", {}, piece.label)];
    node.append(h("span", { class: "tag", "data-place": place }, ...words));
  }
  return node;
}
