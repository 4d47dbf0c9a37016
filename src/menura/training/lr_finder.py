"""A training becomes losses under a rising learning rate, and a suggested rate; its state is restored afterwards.

The range test of Smith (2017): the rate grows by the same factor from step to step, and the suggestion is where the
smoothed loss falls most steeply, well below the rate at which it rises again.
"""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from menura.adaptation.joint_inner_loop import LearnsJointly
from menura.errors import ConfigError, NumericalError
from menura.training import persona_masks
from menura.training.data import EncodedTask
from menura.training.precision import approximately
from menura.training.trainer import Training, held_out_nll

SMOOTHING = 0.9  # of the running mean: about ten steps count
DIVERGED = 4.0  # times the lowest smoothed loss
UNSURE = 10  # points at the beginning, whose running mean covers few losses
LEAST = 5  # points needed to compute a slope


@dataclass(frozen=True)
class Sweep:
    """The learning rates to try: ``points`` of them, from ``start`` to ``end``, each the same factor above the last.

    The default ``start`` is very low, as a sweep never looks below it.
    """

    start: float = 1e-7
    end: float = 10.0
    points: int = 100

    def __post_init__(self) -> None:
        """Refuse a sweep that does not rise."""
        if not 0 < self.start < self.end:
            raise ConfigError(f"--from {self.start:g} --to {self.end:g}: rates must be above 0 and rise")
        if self.points < LEAST:
            raise ConfigError(f"--points {self.points}: must be at least {LEAST}")

    def rates(self) -> list[float]:
        """Return the rates, both ends included."""
        return [self.start * (self.end / self.start) ** (point / (self.points - 1)) for point in range(self.points)]


@dataclass(frozen=True)
class Tried:
    """One step of a sweep: the loss (NLL per token, nats) before the step."""

    lr: float
    loss: float
    smoothed: float


def find_lr(training: Training, sweep: Sweep) -> list[Tried]:
    """Return the steps up to where the loss diverged; weights, optimiser and random state are restored.

    Nothing is written. Raises NumericalError if the loss diverges before a slope can be computed.
    """
    tried: list[Tried] = []
    with _restoring(training):
        _find_masks(training, sweep)
        for point, rate in enumerate(sweep.rates()):
            loss = _loss(training, point % training.config.outer.steps, rate)
            smoothed = _smoothed(tried, loss)
            if not smoothed <= DIVERGED * min((t.smoothed for t in tried), default=math.inf):
                break
            tried.append(Tried(rate, loss, smoothed))
            training.progress.step(point + 1, sweep.points, loss)
    if len(tried) < LEAST:
        raise NumericalError(
            f"the loss diverged after {len(tried)} points, from rate {sweep.start:g} on: too few to tell a slope",
            hint=f"start lower: --from {sweep.start / 1000:.0e}",
            code="diverged_at_once",
        )
    return tried


def unadapted_after(
    training: Training, rate: float, steps: int, tasks: Sequence[EncodedTask], shots: int, queries: int
) -> tuple[float, float]:
    """Take some steps at a rate; return the NLL per token of tasks' query dialogues afterwards, and a step's seconds.

    Nothing is adapted; infinite if the training diverges. All that the steps change is restored, nothing written.
    """
    with _restoring(training):
        began = time.perf_counter()
        losses = [_loss(training, step, rate * min(1.0, (step + 1) / steps)) for step in range(steps)]
        seconds = (time.perf_counter() - began) / steps
        if not all(map(math.isfinite, losses)):
            return math.inf, seconds
        nll, _ = held_out_nll(training.model, lambda model, support: {}, tasks, shots, queries)
    return nll, seconds


def suggestion(tried: Sequence[Tried]) -> float:
    """Return the rate at which the smoothed loss falls most steeply over the logarithm of the rate.

    Raises NumericalError if the loss never falls.
    """
    first = max(1, min(UNSURE, len(tried) // 2))
    slopes = {place: _slope(tried[place - 1], tried[place + 1]) for place in range(first, len(tried) - 1)}
    steepest = min(slopes, key=lambda place: slopes[place], default=0)
    if slopes.get(steepest, 0.0) >= 0:
        hint = "try more rates: a lower --from, a higher --to, or more tasks a step: --set outer.meta_batch_size=8"
        raise NumericalError("the loss falls at no rate that was tried", hint=hint, code="no_descent")
    return tried[steepest].lr


def _slope(before: Tried, after: Tried) -> float:
    return (after.smoothed - before.smoothed) / math.log(after.lr / before.lr)


def _smoothed(tried: Sequence[Tried], loss: float) -> float:
    """Return the running mean with this loss, corrected for its bias towards the initial 0."""
    before, count = (tried[-1].smoothed if tried else 0.0), len(tried)
    mean = SMOOTHING * before * (1 - SMOOTHING**count) + (1 - SMOOTHING) * loss
    return mean / (1 - SMOOTHING ** (count + 1))


def _loss(training: Training, step: int, rate: float) -> float:
    """Take a step; return the loss before it, ``nan`` if a number overflowed."""
    try:
        return training.optimizer_step(step, rate)[0].loss
    except NumericalError:
        return math.nan


def _find_masks(training: Training, sweep: Sweep) -> None:
    """Find the masks of the sweep's personas, without writing them, if the method needs masks."""
    method, outer = training.config.method, training.config.outer
    if not isinstance(method, LearnsJointly):
        return
    drawn = {persona_id for step in range(min(sweep.points, outer.steps)) for persona_id in training.drawn(step)}
    tasks = [task for task in training.train if task.persona_id in drawn]
    with approximately(training.config.dtype, training.model.device):
        *_, training.masks = persona_masks.find_masks(training.model, method, tasks, outer.shots, {})


@contextmanager
def _restoring(training: Training) -> Iterator[None]:
    """Restore all that steps change: weights, buffers, optimiser, gradients, masks, random state."""
    kept = {**training.weights, **dict(training.model.named_buffers())}
    before = {name: value.detach().clone() for name, value in kept.items()}
    optimizer = copy.deepcopy(training.optimizer.state_dict())
    masks, device = training.masks, training.model.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            with torch.no_grad():
                for name, value in kept.items():
                    value.copy_(before[name])
            training.optimizer.load_state_dict(optimizer)
            training.optimizer.zero_grad()
            training.masks = masks
