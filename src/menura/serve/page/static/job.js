// An adaptation as it runs: what it says, how the loss falls, what came of it; it can be cancelled.

import { ask, errorOf } from "./api.js";
import { lossCurve } from "./chart.js";
import { button, element } from "./dom.js";
import { fail, wordsOf } from "./frame.js";
import { t } from "./labels.js";
import { verdict } from "./verdict.js";

const ENDED = ["done", "failed", "cancelled"];

// Shows a job in an element until it has ended; `ended` is called with the state and its data.
export function follow(id, place, { name, speaker, ended = () => {} }) {
  const curve = lossCurve(t("job.loss"));
  const state = element("p", { class: "state", role: "status" }, t("job.waiting"));
  const lines = element("ul", { class: "said quiet" });
  const result = element("div", { class: "result" });
  const cancel = button(t("job.cancel"), stop);
  const progress = element("progress", { "aria-label": t("job.progress"), max: 1, value: 0 });
  place.replaceChildren(element("h2", {}, t("job.heading", { name })), state, progress, curve.chart, result, element("p", { class: "links" }, cancel), element("details", { class: "further" }, element("summary", {}, t("job.said")), lines));
  place.hidden = false;
  curve.chart.toggleAttribute("hidden", true);
  const source = new EventSource(`/api/jobs/${encodeURIComponent(id)}/events`);
  const on = (event, act) => source.addEventListener(event, (message) => act(JSON.parse(message.data)));

  on("said", ({ line }) => lines.append(element("li", { dir: "auto" }, line)));
  on("control", ({ reply, replies }) => {
    state.textContent = t("job.control", { reply, replies });
    progress.value = reply / replies;
  });
  on("step", ({ reply, replies, loss }) => {
    state.textContent = t("job.step", { reply, replies });
    progress.value = reply / replies;
    curve.chart.toggleAttribute("hidden", false);
    curve.add(reply, replies, loss);
  });
  on("check", (check) => result.replaceChildren(...verdict(check, speaker || name)));
  on("state", (data) => {
    if (data.state === "running") state.textContent = t("job.running");
    if (ENDED.includes(data.state)) finish(data);
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) finish({ state: "failed", problems: [{ message: t("error.unreachable") }] });
  });

  async function stop() {
    cancel.disabled = true;
    try {
      await ask("DELETE", `/api/jobs/${encodeURIComponent(id)}`);
    } catch (error) {
      cancel.disabled = false;
      fail(error);
    }
  }

  function finish(data) {
    source.close();
    cancel.remove();
    progress.remove();
    place.dataset.state = data.state;
    state.textContent = t(data.state === "done" && data.changed === false ? "job.unchanged" : `job.${data.state}`, { name });
    for (const problem of data.problems || []) result.append(element("p", { class: "wrong", role: "alert", dir: "auto" }, wordsOf(errorOf(problem))));
    ended(data.state, data);
  }
}
