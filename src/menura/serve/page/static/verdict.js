// What adapting did to replies that were held out, in words.

import { element, named } from "./dom.js";
import { counted, decimal, percent, t } from "./labels.js";

export const isWorse = (check) => Number.isFinite(check.likelier) && check.likelier < 0;

// Sentences about the record of a check; one that nothing was held out where there is none.
export function verdict(check, speaker) {
  if (!check || !check.replies || !Number.isFinite(check.likelier)) return [element("p", { class: "quiet" }, t("check.none"))];
  const [low, high] = check.likelier_interval || [null, null];
  const said = [element("p", { class: "verdict" }, sentence(isWorse(check) ? "check.worse" : "check.better", speaker, percent(Math.abs(check.likelier))))];
  const details = [];
  if (low !== null) details.push(t("check.interval", { low: percent(low, true), high: percent(high, true) }));
  if (Number.isFinite(check.likelier_as_stranger)) details.push(t("check.stranger", { share: percent(check.likelier_as_stranger, true) }));
  details.push(t("check.perplexity", { before: decimal(check.ppl_before, 1), after: decimal(check.ppl_after, 1), replies: counted("check.replies", check.replies) }));
  if (low !== null && low <= 0 && high >= 0) details.push(t("check.unsure"));
  said.push(element("p", { class: "quiet" }, details.join(" ")));
  if (isWorse(check)) said.push(element("p", { class: "banner", role: "alert" }, t("check.worse_banner")));
  return said;
}

// A sentence with a name in it, which keeps its own direction.
function sentence(key, speaker, share) {
  const [before, after] = t(key, { share }).split("{speaker}");
  return element("span", {}, before, named(speaker), after ?? "");
}
