// Small plots of the last fifteen minutes.

import { setText } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const POINTS = 180;
const HEIGHT = 40;

/** A plot with a text in place of the picture for those who do not see it. */
export function plot(name, format) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "plot");
  svg.setAttribute("viewBox", `0 0 ${POINTS - 1} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  const title = document.createElementNS(SVG, "title");
  const [area, line] = ["area", "line"].map((kind) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", kind);
    return path;
  });
  svg.append(title, area, line);
  const draw = (values) => {
    if (values.length === 0) {
      setText(title, `${name}: no samples yet`);
      return;
    }
    const shown = values.slice(-POINTS);
    const most = Math.max(...shown);
    const scale = most > 0 ? (HEIGHT - 4) / most : 0;
    const first = POINTS - shown.length;
    const points = shown.map((value, index) => `${first + index} ${(HEIGHT - 1 - value * scale).toFixed(2)}`);
    const path = `M${points.join("L")}`;
    line.setAttribute("d", path);
    area.setAttribute("d", `${path}L${POINTS - 1} ${HEIGHT}L${first} ${HEIGHT}Z`);
    const [now, least] = [shown.at(-1), Math.min(...shown)];
    setText(title, `${name}, last 15 minutes: now ${format(now)}, least ${format(least)}, most ${format(most)}`);
  };
  return { svg, draw };
}
