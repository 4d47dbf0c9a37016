// Small charts: how the loss fell, and intervals on one scale. Each says in words what it shows.

import { drawing } from "./dom.js";
import { decimal, percent } from "./labels.js";

// As wide as the screen lets it be, so that its words have the size of the others.
const WIDE = Math.min(560, Math.max(300, document.documentElement.clientWidth - 32));
const HIGH = 160;
const FEW = 20; // points that are drawn as they are
const EDGE = { left: 44, right: 14, top: 14, bottom: 24 };

const text = (words, attributes) => {
  const made = drawing("text", attributes);
  made.textContent = words;
  return made;
};

// A line that grows: `add` takes a step's number of `total` and its loss.
export function lossCurve(label) {
  const line = drawing("path", { class: "curve" });
  const steps = drawing("path", { class: "steps" });
  const end = drawing("circle", { class: "end", r: 4, visibility: "hidden" });
  const low = text("", { x: EDGE.left - 8, "text-anchor": "end" });
  const high = text("", { x: EDGE.left - 8, "text-anchor": "end" });
  const last = text("", { y: HIGH - 6, "text-anchor": "end", x: WIDE - EDGE.right });
  const axis = drawing("path", { class: "axis", d: `M${EDGE.left} ${EDGE.top}V${HIGH - EDGE.bottom}H${WIDE - EDGE.right}` });
  const chart = drawing("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, class: "chart loss", role: "img", "aria-label": label }, axis, steps, line, end, low, high, last);
  const points = [];
  return {
    chart,
    points,
    add(step, total, loss) {
      points.push({ step, loss });
      const losses = points.map((point) => point.loss);
      const from = Math.min(...losses);
      const to = Math.max(...losses, from + 0.01);
      const across = (one) => EDGE.left + ((WIDE - EDGE.left - EDGE.right) * one) / Math.max(1, total);
      const up = (one) => HIGH - EDGE.bottom - 6 - ((HIGH - EDGE.top - EDGE.bottom - 12) * (one - from)) / (to - from);
      const places = points.map((point) => [across(point.step), up(point.loss)]);
      steps.setAttribute("d", places.map(([x, y]) => `M${x.toFixed(1)} ${y.toFixed(1)}h.01`).join(""));
      line.setAttribute("d", smooth(smoothed(losses).map((one, place) => [places[place][0], up(one)])));
      const [x] = places[places.length - 1];
      end.setAttribute("cx", x);
      end.setAttribute("cy", up(smoothed(losses).at(-1)));
      end.setAttribute("visibility", "visible");
      for (const [shown, value] of [[low, from], [high, to]]) {
        shown.textContent = decimal(value);
        shown.setAttribute("y", up(value) + 4);
      }
      last.textContent = `${step}/${total}`;
      chart.setAttribute("aria-label", `${label}: ${decimal(losses[0])} → ${decimal(losses.at(-1))}, ${step}/${total}`);
    },
  };
}

// Losses of single replies jump about, so that the line of many is their running mean.
function smoothed(losses) {
  const weight = losses.length > FEW ? 0.25 : 1;
  let mean = losses[0];
  return losses.map((loss) => (mean += weight * (loss - mean)));
}

// A curve through all points that goes no higher and no lower than they do (Fritsch and Carlson, 1980).
function smooth(points) {
  const slope = points.slice(1).map(([x, y], place) => (y - points[place][1]) / (x - points[place][0] || 1));
  const tangent = (place) => {
    const [before, after] = [slope[place - 1] ?? slope[place] ?? 0, slope[place] ?? slope[place - 1] ?? 0];
    return before * after <= 0 ? 0 : (2 * before * after) / (before + after);
  };
  const at = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`;
  return points
    .map(([x, y], place) => {
      if (!place) return `M${at(x, y)}`;
      const [from, height] = points[place - 1];
      const third = (x - from) / 3;
      return `C${at(from + third, height + third * tangent(place - 1))} ${at(x - third, y - third * tangent(place))} ${at(x, y)}`;
    })
    .join("");
}

// Rows of {name, value, low, high}, each a point with its interval; `show` writes a value.
export function intervals(rows, label, show = (value) => percent(value, true)) {
  const [wide, each, left, right] = [WIDE, 30, WIDE < 480 ? 104 : 150, 16];
  const letters = WIDE < 480 ? 12 : 18;
  const all = rows.flatMap((row) => [row.value, row.low ?? row.value, row.high ?? row.value, 0]);
  const from = Math.min(...all);
  const to = Math.max(...all, from + 0.01);
  const across = (value) => left + ((wide - left - right) * (value - from)) / (to - from);
  const high = rows.length * each + 26;
  const zero = drawing("path", { class: "zero", d: `M${across(0)} 6V${high - 20}` });
  const chart = drawing("svg", { viewBox: `0 0 ${wide} ${high}`, class: "chart intervals", role: "img", "aria-label": label }, zero);
  for (const [place, row] of rows.entries()) {
    const y = 18 + place * each;
    const name = row.name.length > letters ? `${row.name.slice(0, letters - 1)}…` : row.name;
    chart.append(text(name, { x: left - 14, y: y + 4, "text-anchor": "end", class: "name" }));
    if (row.low !== null && row.low !== undefined) chart.append(drawing("path", { class: "interval", d: `M${across(row.low)} ${y}H${across(row.high)}` }));
    chart.append(drawing("circle", { class: row.value < 0 ? "point worse" : "point", cx: across(row.value), cy: y, r: 4.5 }));
  }
  for (const [value, anchor] of [[from, "start"], [to, "end"]]) if (Math.abs(across(value) - across(0)) > 34) chart.append(text(show(value), { x: across(value), y: high - 4, "text-anchor": anchor }));
  chart.append(text("0", { x: across(0), y: high - 4, "text-anchor": "middle" }));
  return chart;
}

// One share of a whole as a bar, for candidates and wins.
export function bar(share, kind = "") {
  const long = Math.max(0.02, Math.min(1, share)) * 100;
  return drawing("svg", { viewBox: "0 0 100 6", class: `bar ${kind}`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" }, drawing("rect", { class: "back", width: 100, height: 6 }), drawing("rect", { class: "fore", width: long, height: 6 }));
}
