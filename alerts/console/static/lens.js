// The close look: the first box of a piece, twice as large and more.

import { byId, h } from "./build.js";
import * as evidence from "./evidence.js";

const ASPECT = 16 / 9;

export function show(alert, piece) {
  const figure = byId("crop");
  figure.hidden = !piece.boxes.length;
  if (figure.hidden) return;
  const [x, y, width, height] = around(piece.boxes[0], evidence.aspect(alert));
  const alt = `Close look at ${piece.label || "the box"}, evidence ${piece.number}`;
  const sheet = h("div", { class: "sheet" }, ...evidence.small(alert, piece.index, [piece], { alt }));
  sheet.style.width = `${100 / width}%`;
  sheet.style.height = `${100 / height}%`;
  sheet.style.left = `${(-100 * x) / width}%`;
  sheet.style.top = `${(-100 * y) / height}%`;
  figure.querySelector(".lens").replaceChildren(sheet);
  figure.querySelector("figcaption").replaceChildren(h("b", {}, String(piece.number)), piece.label || "close look");
}

/** Part of the frame around a box, in the shape of the lens: [x, y, width, height] in 0..1. */
function around([x1, y1, x2, y2], ratio) {
  const scale = ratio / ASPECT;
  const width = Math.min(1, 1 / scale, Math.max(0.12, 1.5 * (x2 - x1), (1.35 * (y2 - y1)) / scale));
  const height = width * scale;
  const inside = (centre, size) => Math.min(1 - size, Math.max(0, centre - size / 2));
  return [inside((x1 + x2) / 2, width), inside((y1 + y2) / 2, height), width, height];
}
