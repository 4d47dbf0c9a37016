// A persona's mark in place of a picture: the tail of a lyrebird whose strings follow from the name.

import { drawing } from "./dom.js";

const TONES = 6; // of which the style sheet has the colours

// Numbers that follow from a text: FNV-1a, mixed as murmur3 does, then xorshift; the same on every machine.
function numbers(name) {
  let state = 0x811c9dc5;
  for (const character of name) {
    state ^= character.codePointAt(0);
    state = Math.imul(state, 0x01000193) >>> 0;
  }
  for (const factor of [0x85ebca6b, 0xc2b2ae35]) state = Math.imul(state ^ (state >>> 15), factor) >>> 0;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state / 2 ** 32;
  };
}

export function mark(name) {
  const next = numbers(name);
  const tone = Math.floor(next() * TONES);
  const spread = 15 + next() * 8;
  const curl = 4 + next() * 5;
  const height = 10 + next() * 6;
  const strings = 2 + Math.floor(next() * 3);
  const made = drawing("svg", { viewBox: "0 0 64 64", class: `mark tone-${tone}`, "aria-hidden": "true", focusable: "false" });
  made.append(drawing("circle", { cx: 32, cy: 32, r: 31 }));
  for (const side of [-1, 1]) {
    const x = (distance) => (32 + side * distance).toFixed(1);
    const vane = `M32 54C${x(1)} 42 ${x(spread + 4)} 40 ${x(spread)} ${height + 12}C${x(spread - 2)} ${height - 2} ${x(spread - curl - 5)} ${height - 2} ${x(spread - curl - 2)} ${height + 5}`;
    made.append(drawing("path", { class: "vane", d: vane }));
    for (let string = 1; string <= strings; string += 1) {
      const end = (spread - curl - 4) * (string / (strings + 1));
      made.append(drawing("path", { class: "filament", d: `M32 54C${x(0.5)} 44 ${x(end + 3)} 34 ${x(end)} ${height + 4 + next() * 10}` }));
    }
  }
  return made;
}
