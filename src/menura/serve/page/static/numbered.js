// Line numbers beside a text that is typed; those of lines with a problem stand out. Only what is seen is made.

import { element } from "./dom.js";

export function numbered(area, margin) {
  let problems = new Map();

  function draw() {
    const style = getComputedStyle(area);
    const high = parseFloat(style.lineHeight);
    const first = Math.floor(area.scrollTop / high);
    const lines = area.value.split("\n").length;
    const seen = Math.min(lines, first + Math.ceil(area.clientHeight / high) + 1);
    const rows = [];
    for (let line = first + 1; line <= seen; line += 1) {
      const problem = problems.get(line);
      rows.push(element("span", { class: problem ? `at ${problem.level}` : "at", title: problem ? problem.message : "" }, String(line)));
    }
    margin.replaceChildren(...rows);
    margin.style.setProperty("--shift", `${first * high - area.scrollTop}px`);
  }

  for (const event of ["input", "scroll"]) area.addEventListener(event, draw);
  new ResizeObserver(draw).observe(area);
  return {
    mark(found) {
      problems = found;
      draw();
    },
  };
}
