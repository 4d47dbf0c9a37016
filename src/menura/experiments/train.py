"""The only training loop: whatever the method, it lowers the method's objective over some tasks a step."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from menura.adaptation.weights import adaptable, loss_with
from menura.artefacts import checkpoint, tensors
from menura.artefacts.checkpoint import Checkpoint
from menura.batches.encode import EncodedEpisode
from menura.errors import EpisodeError, NumericalError
from menura.experiments.data_config import EncodedTask
from menura.experiments.finite import check_finite
from menura.experiments.run import Run, Signals
from menura.experiments.run_config import RunConfig
from menura.metrics.perplexity import perplexity_of
from menura.models.dialogue_model import DialogueModel


class Progress(Protocol):
    """What the command line shows of a training."""

    def step(self, step: int, steps: int, loss: float) -> None:
        """An outer step was taken; ``loss`` is its query loss in nats per token."""

    def say(self, line: str) -> None:
        """Something else worth a line."""


@dataclass
class Training:
    """One training in one folder: model, tasks on their sides, settings."""

    run: Run
    config: RunConfig
    model: DialogueModel[Any]
    train: Sequence[EncodedTask]
    valid: Sequence[EncodedTask]
    progress: Progress
    origin: Mapping[str, str] = field(default_factory=dict)  # what the weights were trained on

    def __post_init__(self) -> None:
        """Set up the optimiser and see to it that every task can be drawn from."""
        outer = self.config.outer
        self.train = [t for t in self.train if len(t.dialogues) >= outer.shots + outer.queries]
        if not self.train:
            raise EpisodeError(f"no training persona has {outer.shots} + {outer.queries} dialogues")
        self.weights = adaptable(self.model)
        self.optimizer = torch.optim.Adam(self.weights.values(), lr=outer.rate)
        self.best = math.inf

    def go(self) -> None:
        """Train to the end, from the newest whole checkpoint; stopped by a signal, save and raise Stopped."""
        step, outer = self._resume(), self.config.outer
        with Signals().watched() as signals:
            while step < outer.steps:
                with self._noting_failure(step):
                    self._outer_step(step)
                    step += 1
                    if step % outer.check_every == 0 or step == outer.steps:
                        self._check(step)
                if step % outer.save_every == 0 or step == outer.steps or signals.caught:
                    self._save(step)
                if signals.caught:
                    self.run.status("interrupted", step=step)
                    raise signals.stop(f"stopped after step {step}, saved; the same command goes on")
        self.run.status("done", step=step, best=_finite(self.best))

    @contextmanager
    def _noting_failure(self, step: int) -> Iterator[None]:
        """Note in the run's status that numbers failed, whoever found it: the loop, a check, a method's inner loop."""
        try:
            yield
        except NumericalError as error:
            self.run.status("failed", step=step, code=error.problems[0].code)
            raise

    def _outer_step(self, step: int) -> None:
        outer = self.config.outer
        for group in self.optimizer.param_groups:
            group["lr"] = outer.rate * schedule(step, outer.steps, outer.warmup)
        self.optimizer.zero_grad()
        nats = tokens = 0.0
        for episode in self._episodes(step):
            with approximately(self.config.precision, self.model.device):
                loss = self.config.method.objective(self.model, episode)
            # One task's graph at a time: memory of one task, not of the meta-batch.
            (loss.total / outer.tasks).backward()  # type: ignore[no-untyped-call]
            nats, tokens = nats + float(loss.nats.detach().sum()), tokens + float(loss.tokens.sum())
        norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), outer.clip)
        if not (math.isfinite(nats) and torch.isfinite(norm)):
            raise self._not_finite(step)
        self.optimizer.step()
        check_finite(self.weights, f"step {step + 1}", self._smaller_rate)
        self.run.note(
            step=step + 1, loss=nats / tokens, loss_hex=(nats / tokens).hex(), norm=float(norm), tokens=tokens
        )
        self.progress.step(step + 1, outer.steps, nats / tokens)

    def _episodes(self, step: int) -> Iterator[EncodedEpisode]:
        """Yield this step's episodes; each step has its own random stream, so going on needs no generator's state."""
        rng = random.Random(f"{self.config.seed}:{step}")
        outer = self.config.outer
        for task in rng.choices(self.train, k=outer.tasks):
            drawn = rng.sample(task.dialogues, outer.shots + outer.queries)
            yield EncodedEpisode(task.persona_id, tuple(drawn[: outer.shots]), tuple(drawn[outer.shots :]))

    def _check(self, step: int) -> None:
        """Adapt held-back personas and note the query loss before and after; keep the weights of the best."""
        outer = self.config.outer
        eligible = [t for t in self.valid if len(t.dialogues) > outer.shots][: outer.check_personas]
        if not eligible:
            return
        with approximately(self.config.precision, self.model.device):
            before, after = held_out_nats(self.model, self.config.method.adapt, eligible, outer.shots, outer.queries)
        check_finite({"loss": torch.tensor([before, after])}, f"step {step}, held-back personas", self._smaller_rate)
        self.run.note(step=step, valid_before=before, valid_after=after)
        ppl_before, ppl_after = (perplexity_of([nats], [1], "pooled") for nats in (before, after))
        self.progress.say(f"step {step}: held-back personas PPL {ppl_before:.2f} -> {ppl_after:.2f} adapted")
        if after < self.best:
            self.best = after
            tensors.save(self.run.best, self.weights, {"step": str(step), **self.origin})

    def _save(self, step: int) -> None:
        names = {id(value): name for name, value in self.weights.items()}
        state = {
            f"{names[id(parameter)]}/{kind}": torch.as_tensor(value)
            for parameter, kinds in self.optimizer.state.items()
            for kind, value in kinds.items()
        }
        checkpoint.write(self.run.checkpoints, Checkpoint(step, self.weights, state, {"best": _finite(self.best)}))

    def _resume(self) -> int:
        found = checkpoint.newest(self.run.checkpoints, self.progress.say)
        step = found.step if found else 0
        self.run.cut_trace(step)
        self.run.status("running", step=step)
        if not found:
            return 0
        tensors.check_same_shape(found.weights, self.weights, f"checkpoint step {step}")
        with torch.no_grad():
            for name, value in self.weights.items():
                value.copy_(found.weights[name])
        for key, value in found.optimizer.items():
            name, _, kind = key.rpartition("/")
            weight = self.weights[name]
            # Adam counts its steps on the CPU wherever the weights are.
            self.optimizer.state[weight][kind] = value if kind == "step" else value.to(weight.device)
        self.best = found.state["best"] if found.state["best"] is not None else math.inf
        self.progress.say(f"going on after step {step}")
        return step

    def _not_finite(self, step: int) -> NumericalError:
        personas = ", ".join(e.persona_id for e in self._episodes(step))
        return NumericalError(
            f"step {step + 1}: loss or gradient not finite (personas {personas}); the last good state is kept",
            place=str(self.run.checkpoints),
            hint=self._smaller_rate,
        )

    @property
    def _smaller_rate(self) -> str:
        return f"try a smaller rate: --set outer.rate={self.config.outer.rate / 3:.1g}"


def held_out_nats(
    model: DialogueModel[Any], adapt: Callable[..., Any], tasks: Sequence[EncodedTask], shots: int, queries: int
) -> tuple[float, float]:
    """Return pooled nats per token of the query dialogues, before and after adapting on the first ``shots``."""
    sums: list[Tensor] = []
    for task in tasks:
        query = model.batch([e for dialogue in task.dialogues[shots : shots + queries] for e in dialogue])
        weights = adapt(model, task.dialogues[:shots])
        with torch.no_grad():
            before, after = model.loss(query), loss_with(model, weights, query)
        sums.append(torch.stack([before.nats.sum(), after.nats.sum(), before.tokens.sum()]))
    nats_before, nats_after, tokens = torch.stack(sums).sum(0).tolist()
    return nats_before / tokens, nats_after / tokens


def schedule(step: int, steps: int, warmup: int) -> float:
    """Return the share of the full rate at a step: up linearly, then down as a cosine to a tenth."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


@contextmanager
def approximately(precision: str, device: torch.device) -> Iterator[None]:
    """Let matrix products run in bfloat16 where a run asks for it; quicker, not exact."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
