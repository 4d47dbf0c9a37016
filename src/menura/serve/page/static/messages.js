// Messages of a chat as they are shown: the person's plainly, the persona's in its own voice, with what belongs to it.

import { candidatesOf, drawThumb } from "./message_parts.js";
import { button, element, told } from "./dom.js";
import { t } from "./labels.js";

export const userMessage = (message) => element("article", { class: "message user", "data-place": message.place ?? "", "aria-label": t("chat.you") }, told(message.text, { class: "words" }));

// `does` has what the buttons do: rate(message, rating), use(message, candidate), again(message).
export function personaMessage(message, name, does, isLast) {
  const rating = (kind) => button(drawThumb(kind), () => does.rate(message, message.rating === kind ? null : kind), { class: `icon ${kind}`, "aria-pressed": String(message.rating === kind), "aria-label": t(`chat.${kind}`), title: t(`chat.${kind}`) });
  const notes = [];
  if (!message.finished) notes.push(t("chat.cut"));
  if (!message.version) notes.push(t("chat.by_base"));
  const tools = element("div", { class: "tools" }, rating("good"), rating("bad"), isLast ? button(t("chat.again"), () => does.again(message), { class: "quiet" }) : null, notes.length ? element("span", { class: "quiet" }, notes.join(" · ")) : null);
  return element("article", { class: `message persona ${message.version ? "" : "of-base"}`, "data-place": message.place, "aria-label": name }, element("p", { class: "words", dir: "auto" }, message.text), tools, ...candidatesOf(message, name, does));
}
