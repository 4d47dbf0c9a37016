"""The inner loop: gradient steps on the loss of a support set, as a function of the initial weights."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal

import torch
from torch import Tensor

from menura.adaptation.inner_gradients import FirstOrder, InnerTrajectory, Recomputed, Unrolled
from menura.adaptation.inner_step import InnerProblem
from menura.adaptation.weights import PersonaWeights
from menura.batches.batch import Batch
from menura.batches.encode import EncodedDialogue
from menura.errors import ConfigError, NumericalError
from menura.models.dialogue_model import DialogueModel, SelfDistills

Order = Literal["exact", "first", "recompute"]
# Called after each step: (steps done, steps in all, loss on the support set in nats per token).
StepCallback = Callable[[int, int, float], None]

TRAJECTORIES: dict[Order, Callable[[InnerProblem, PersonaWeights], InnerTrajectory]] = {
    "exact": Unrolled,
    "first": FirstOrder,
    "recompute": Recomputed,
}


@dataclass(frozen=True)
class InnerLoop:
    """``epochs`` passes over the support set in mini-batches of ``batch_size`` exchanges (0 = all), at ``lr``.

    An epoch is ceil(support / batch_size) steps (spec A5); exchanges keep their order, so that those of one dialogue
    share a row. Optimiser state is fresh for each persona. Learning rates that were learnt with the initial weights
    replace ``lr``. ``distill_weight`` is the share of each target that is the initial model's own distribution, not the
    word (self-distillation; Reed et al., 2015): few dialogues are no reason to move far from what all others taught.
    """

    lr: float = 1e-3
    epochs: int = 1
    batch_size: int = 16
    optimizer: Literal["sgd", "adam"] = "sgd"
    distill_weight: float = 0.0

    def __post_init__(self) -> None:
        """Refuse settings under which nothing could be learnt."""
        if self.lr <= 0:
            raise ConfigError(f"inner.lr: {self.lr}, must be > 0")
        if self.epochs < 0 or self.batch_size < 0:
            raise ConfigError(
                f"inner.epochs: {self.epochs} and inner.batch_size: {self.batch_size} must not be negative"
            )
        if not 0 <= self.distill_weight <= 1:
            raise ConfigError(f"inner.distill_weight: {self.distill_weight}, must lie between 0 and 1")


def mini_batches(model: DialogueModel[Any], support: Sequence[EncodedDialogue], size: int) -> list[Batch]:
    """Cut the support's exchanges, in order, into batches of ``size`` (0 = one batch)."""
    exchanges = iter(chain.from_iterable(support))
    if size == 0:
        return [model.batch(tuple(exchanges))]
    pieces = iter(lambda: tuple(islice(exchanges, size)), ())
    return [model.batch(piece) for piece in pieces]


def with_soft_targets(model: DialogueModel[Any], batch: Batch, share: float) -> Batch:
    """Return a batch with the model's present predictions as soft targets; ConfigError for a model without them."""
    if not isinstance(model, SelfDistills):
        raise ConfigError(
            f"inner.distill_weight: {type(model).__name__} cannot be held to itself", hint="leave it at 0"
        )
    return model.with_soft_targets(batch, share)


def run_inner_loop(
    model: DialogueModel[Any],
    start: PersonaWeights,
    support: Sequence[EncodedDialogue],
    inner: InnerLoop,
    *,
    order: Order = "first",
    on_step: StepCallback | None = None,
) -> dict[str, Tensor]:
    """Return the weights after the inner loop; neither the model nor ``start`` is changed.

    With order ``first`` they are detached, with ``exact`` and ``recompute`` a function of ``start``. Raises
    NumericalError at the step whose loss is not finite.
    """
    *_, (_, _, trajectory) = iterate_inner_loop(model, start, support, inner, order=order, on_step=on_step)
    return trajectory.weights()


def iterate_inner_loop(
    model: DialogueModel[Any],
    start: PersonaWeights,
    support: Sequence[EncodedDialogue],
    inner: InnerLoop,
    *,
    order: Order = "first",
    on_step: StepCallback | None = None,
) -> Iterator[tuple[int, int, InnerTrajectory]]:
    """Yield steps done, steps in all, and the trajectory: before any step, then after each."""
    trajectory = TRAJECTORIES[order](InnerProblem(model, inner.lr, inner.optimizer == "adam"), start)
    batches = mini_batches(model, support, inner.batch_size) if inner.epochs and support else []
    if inner.distill_weight:
        batches = [with_soft_targets(model, batch, inner.distill_weight) for batch in batches]
    steps = inner.epochs * len(batches)
    yield 0, steps, trajectory
    for step in range(steps):
        batch = batches[step % len(batches)]
        loss = trajectory.step(batch)
        if not torch.isfinite(loss):
            raise diverged(step, batch, inner)
        if on_step:
            on_step(step + 1, steps, float(loss))
        yield step + 1, steps, trajectory


def diverged(step: int, batch: Batch, inner: InnerLoop) -> NumericalError:
    """Return the error for a step, counted from 0, whose loss is not finite."""
    dialogues = sorted({exchange.dialogue_id for exchange in batch.exchanges})
    return NumericalError(
        f"inner step {step + 1}: the loss is not finite (dialogues {', '.join(dialogues[:5])})",
        hint=f"try a smaller inner rate than {inner.lr}",
    )
