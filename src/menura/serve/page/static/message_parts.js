// Parts of a persona's message: thumbs, and what is folded below.

import { recalled, strip } from "./candidates.js";
import { drawing } from "./dom.js";

const HAND = "M7 10.5v9H3.6v-9zm2 8.3c1.3.5 2.4.9 4 .9h3.2c1.1 0 1.9-.6 2.2-1.7l1.3-5c.3-1.3-.5-2.5-1.9-2.5h-4l.8-4.2c.2-1-.4-1.9-1.3-2.1-.7-.2-1.4.2-1.7.9L9 10.7z";

export function drawThumb(kind) {
  return drawing("svg", { viewBox: "0 0 24 24", class: `thumb ${kind}`, "aria-hidden": "true", focusable: "false" }, drawing("path", { d: HAND, transform: kind === "bad" ? "rotate(180 12 12)" : "" }));
}

export const candidatesOf = (message, name, does) => [strip(message, name, (place) => does.use(message, place)), recalled(message)];
