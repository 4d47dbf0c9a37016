"""Three ways to run the inner loop: to the same weights, with different things kept for the backward pass."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from menura.adaptation.inner_step import (
    InnerLearningRates,
    InnerProblem,
    State,
    Values,
    direction,
    initial_states,
    inner_frozen_of,
    inner_lrs_of,
    loss_and_gradients,
    lrs_of_step,
    query_loss_and_gradients,
    updated_states,
)
from menura.adaptation.weights import loss_with
from menura.batches.batch import Batch
from menura.models.dialogue_model import Loss


class InnerTrajectory(Protocol):
    """The state of an inner loop."""

    def step(self, batch: Batch) -> Tensor:
        """Take a gradient step on the loss of a batch and return that loss, detached."""

    def weights(self) -> dict[str, Tensor]:
        """Return the present weights."""

    def query_loss(self, query: Batch) -> Loss:
        """Return the loss at the present weights, with gradients for the initial weights and all else that trains."""


@dataclass
class FirstOrder:
    """First order: steps are constants, so that the gradient of the initial weights is that at the final weights.

    Memory: one copy of what moves, its gradient, Adam's moments, and a copy for each row of learnt rates but the first.
    Nothing grows with the number of steps. The next step overwrites ``weights``.
    """

    problem: InnerProblem
    start: Mapping[str, Tensor]
    _states: dict[str, State] = field(default_factory=dict)
    _marks: list[dict[str, Tensor]] = field(default_factory=list)  # the weights where a row of rates begins
    _steps: int = 0

    def step(self, batch: Batch) -> Tensor:
        """Take a step, overwriting the weights."""
        if not self._states:
            self._states = initial_states(self.problem, {n: value.detach().clone() for n, value in self.start.items()})
        lrs = inner_lrs_of(self.problem.model)
        if lrs and 0 < self._steps < lrs.rows:
            self._marks.append({name: value.clone() for name, value in self.weights().items()})
        leaves = {name: state[0].requires_grad_() for name, state in self._states.items()}
        loss, gradients = loss_and_gradients(self.problem, leaves, batch, inner_frozen={}, exact=False)
        self._update(gradients)
        self._steps += 1
        return loss.detach()

    @torch.no_grad()
    def _update(self, gradients: Values) -> None:
        lrs = lrs_of_step(self.problem, self._steps, tuple(self._states))
        for (name, (weight, *moments)), lr, gradient in zip(self._states.items(), lrs, gradients, strict=True):
            update, *moments = direction(moments, gradient, self._steps)
            self._states[name] = (weight.sub_(lr * update), *moments)

    def weights(self) -> dict[str, Tensor]:
        """Return the weights, detached; before any step, the initial weights themselves."""
        return {name: state[0].detach() for name, state in self._states.items()} or dict(self.start)

    def query_loss(self, query: Batch) -> Loss:
        """Return the loss at the present weights; its gradients are computed at once, so that no graph is kept."""
        here = self.weights()
        loss, gradients = query_loss_and_gradients(self.problem, here, query)
        inputs = [*self.start.values(), *inner_frozen_of(self.problem, here).values()]
        lrs = inner_lrs_of(self.problem.model)
        if lrs and lrs.logarithm.requires_grad:
            gradients = (*gradients, self._lr_gradient(lrs, dict(zip(here, gradients, strict=False))))
            inputs.append(lrs.logarithm)
        return _loss_with_gradients(loss, inputs, gradients)

    @torch.no_grad()
    def _lr_gradient(self, lrs: InnerLearningRates, gradients: Mapping[str, Tensor]) -> Tensor:
        """Return d loss / d log lr: the present gradient, times the change of the weights at that rate."""
        slope = torch.zeros_like(lrs.logarithm)
        places = [self.start, *self._marks, self.weights()]
        for row in range(len(places) - 1):
            before, after = places[row], places[row + 1]
            for name, gradient in gradients.items():
                slope[row, lrs.column[name]] = (gradient * (after[name] - before[name])).sum()
        return slope


@dataclass
class Unrolled:
    """Exact, with the graph of every step kept (Finn et al., 2017, Eq. 1): memory grows by a whole graph a step."""

    problem: InnerProblem
    start: Mapping[str, Tensor]
    _states: dict[str, State] = field(default_factory=dict)
    _steps: int = 0

    def step(self, batch: Batch) -> Tensor:
        """Take a differentiable step."""
        states = self._states or initial_states(self.problem, self.start)
        loss, gradients = loss_and_gradients(self.problem, self.weights(), batch, inner_frozen={}, exact=True)
        self._states = updated_states(
            self.problem, states, lrs_of_step(self.problem, self._steps, tuple(states)), gradients, self._steps
        )
        self._steps += 1
        return loss.detach()

    def weights(self) -> dict[str, Tensor]:
        """Return the weights as a function of the initial weights."""
        return {name: state[0] for name, state in self._states.items()} or dict(self.start)

    def query_loss(self, query: Batch) -> Loss:
        """Return the loss at the present weights."""
        return loss_with(self.problem.model, self.weights(), query)


@dataclass
class Recomputed:
    """Exact by checkpointing: a step keeps only its weights; the backward pass recomputes it, with its graph.

    There v <- v - lr H v, one Hessian-vector product per step; with Adam, v includes its two moments.
    Memory: the weights of every step (three times with Adam), and one graph at a time.
    """

    problem: InnerProblem
    start: Mapping[str, Tensor]
    _states: dict[str, State] = field(default_factory=dict)
    _steps: int = 0

    def step(self, batch: Batch) -> Tensor:
        """Take a checkpointed step."""
        states = self._states or initial_states(self.problem, self.start)
        inner_frozen, lrs = inner_frozen_of(self.problem, states), lrs_of_step(self.problem, self._steps, tuple(states))
        again = _StepFunction(self.problem, tuple(states), tuple(inner_frozen), batch, self._steps)
        given = [*_flat(states), *inner_frozen.values(), *([lrs] if isinstance(lrs, Tensor) else [])]
        loss, *after = checkpointed_step(again, given)
        self._states = _named(tuple(states), after)
        self._steps += 1
        return loss

    def weights(self) -> dict[str, Tensor]:
        """Return the weights as a function of the initial weights."""
        return {name: state[0] for name, state in self._states.items()} or dict(self.start)

    def query_loss(self, query: Batch) -> Loss:
        """Return the loss at the present weights; its gradients are computed at once, so that its graph is not kept."""
        here = self.weights()
        loss, gradients = query_loss_and_gradients(self.problem, here, query)
        return _loss_with_gradients(loss, [*here.values(), *inner_frozen_of(self.problem, here).values()], gradients)


@dataclass(frozen=True)
class _StepFunction:
    """One step as a function of the states, of the parameters that do not move, and of learnt rates, if any."""

    problem: InnerProblem
    names: tuple[str, ...]
    inner_frozen: tuple[str, ...]
    batch: Batch
    number: int

    def __call__(self, given: Sequence[Tensor], *, exact: bool) -> Values:
        size = len(self.names) * (3 if self.problem.adam else 1)
        states = _named(self.names, given[:size])
        inner_frozen = dict(zip(self.inner_frozen, given[size:], strict=False))
        lrs = given[-1] if len(given) > size + len(inner_frozen) else lrs_of_step(self.problem, self.number, self.names)
        weights = {name: state[0] if exact else state[0].requires_grad_() for name, state in states.items()}
        loss, gradients = loss_and_gradients(self.problem, weights, self.batch, inner_frozen=inner_frozen, exact=exact)
        return (loss.detach(), *_flat(updated_states(self.problem, states, lrs, gradients, self.number)))


def _flat(states: Mapping[str, State]) -> list[Tensor]:
    return [value for state in states.values() for value in state]


def _named(names: Sequence[str], values: Sequence[Tensor]) -> dict[str, State]:
    size = len(values) // len(names)
    return {name: tuple(values[size * at : size * (at + 1)]) for at, name in enumerate(names)}


def _loss_with_gradients(loss: Loss, inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Loss:
    parts = {name: part.detach() for name, part in loss.parts.items()}
    return Loss(with_gradients(loss.total, inputs, gradients), loss.nll.detach(), loss.tokens, parts)


# Functions with a backward pass of their own


class CheckpointedStep(Protocol):
    """A step as a function of all tensors that need its gradient."""

    def __call__(self, given: Sequence[Tensor], *, exact: bool) -> Values:
        """Return the step's loss, detached, and the next states; exact: with a graph for the backward pass."""


def with_gradients(value: Tensor, inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Return the value as a function of ``inputs`` with these gradients, whatever it was computed from."""
    made: Tensor = _WithGradients.apply(value.detach(), len(inputs), *inputs, *gradients)  # type: ignore[no-untyped-call]  # torch's own
    return made


def checkpointed_step(step: CheckpointedStep, given: Sequence[Tensor]) -> Values:
    """Take a step that saves only ``given``; its backward pass recomputes it."""
    made: Values = _CheckpointedStep.apply(step, *given)  # type: ignore[no-untyped-call]  # torch's own
    return made


class _WithGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, inputs: int, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors[inputs:])
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.saved_tensors
        return (None, None, *(slope * gradient for gradient in gradients), *(None for _ in gradients))


class _CheckpointedStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, step: CheckpointedStep, *given: Tensor) -> Values:
        ctx.step, ctx.precision = step, _precision(given[0].device.type)
        ctx.save_for_backward(*given)
        loss, *after = step([value.detach() for value in given], exact=False)
        ctx.mark_non_differentiable(loss)
        return (loss, *after)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        given = [value.detach().requires_grad_() for value in ctx.saved_tensors]
        with torch.enable_grad(), ctx.precision():
            _, *after = ctx.step(given, exact=True)
            return (None, *torch.autograd.grad(after, given, slopes, materialize_grads=True))


def _precision(device: str) -> Callable[[], AbstractContextManager[Any]]:
    """Return the present autocast state, to be entered later: backward runs outside the autocast of forward."""
    kind, enabled = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
    return partial(torch.autocast, device, kind, enabled=enabled)
