"""Three ways to walk down a support loss: to the same weights, with different things kept for the way back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from menura.adaptation.backward import known, taken
from menura.adaptation.rates import InnerRates, rates_of
from menura.adaptation.steps import Ground, State, Values, direction
from menura.adaptation.weights import loss_with
from menura.batches.batch import Batch
from menura.models.dialogue_model import Loss


class Walk(Protocol):
    """Where an inner loop stands."""

    def step(self, batch: Batch) -> Tensor:
        """Take a step down the loss of a batch and return that loss, free of any graph."""

    def weights(self) -> dict[str, Tensor]:
        """Return the weights there."""

    def judge(self, query: Batch) -> Loss:
        """Return the loss there; its gradient goes back to where the walk began and to all else that trains."""


@dataclass
class InPlace:
    """First order: steps are constants, so that the gradient at the start is the one where the walk ends.

    Held: one copy of what moves, its gradient, Adam's two means, and a copy for each row of learnt rates but the first.
    Nothing grows with the number of steps. ``weights`` are written over by the next step.
    """

    ground: Ground
    start: Mapping[str, Tensor]
    _states: dict[str, State] = field(default_factory=dict)
    _marks: list[dict[str, Tensor]] = field(default_factory=list)  # where a row of rates begins
    _steps: int = 0

    def step(self, batch: Batch) -> Tensor:
        """Take a step, writing over the weights."""
        if not self._states:
            self._states = self.ground.standing({n: value.detach().clone() for n, value in self.start.items()})
        rates = rates_of(self.ground.model)
        if rates and 0 < self._steps < rates.rows:
            self._marks.append({name: value.clone() for name, value in self.weights().items()})
        leaves = {name: state[0].requires_grad_() for name, state in self._states.items()}
        loss, gradients = self.ground.slope(leaves, batch, others={}, exact=False)
        self._descend(gradients)
        self._steps += 1
        return loss.detach()

    @torch.no_grad()
    def _descend(self, gradients: Values) -> None:
        rates = self.ground.rates(self._steps, tuple(self._states))
        for (name, (weight, *moments)), rate, gradient in zip(self._states.items(), rates, gradients, strict=True):
            towards, *moments = direction(moments, gradient, self._steps)
            self._states[name] = (weight.sub_(rate * towards), *moments)

    def weights(self) -> dict[str, Tensor]:
        """Return the weights, free of any graph; before any step, the start itself."""
        return {name: state[0].detach() for name, state in self._states.items()} or dict(self.start)

    def judge(self, query: Batch) -> Loss:
        """Return the loss there; its gradients are taken at once, so that no graph is kept."""
        here = self.weights()
        loss, gradients = self.ground.judged(here, query)
        inputs = [*self.start.values(), *self.ground.others(here).values()]
        rates = rates_of(self.ground.model)
        if rates and rates.logarithm.requires_grad:
            gradients = (*gradients, self._slope_of(rates, dict(zip(here, gradients, strict=False))))
            inputs.append(rates.logarithm)
        return _as_known(loss, inputs, gradients)

    @torch.no_grad()
    def _slope_of(self, rates: InnerRates, gradients: Mapping[str, Tensor]) -> Tensor:
        """Return d loss / d log rate: the gradient here, times the way that was gone at the rate."""
        slope = torch.zeros_like(rates.logarithm)
        places = [self.start, *self._marks, self.weights()]
        for row in range(len(places) - 1):
            begin, end = places[row], places[row + 1]
            for name, gradient in gradients.items():
                slope[row, rates.column[name]] = (gradient * (end[name] - begin[name])).sum()
        return slope


@dataclass
class Kept:
    """Exact, with the graph of every step kept (Finn et al., 2017, Eq. 1): memory grows by a whole graph a step."""

    ground: Ground
    start: Mapping[str, Tensor]
    _states: dict[str, State] = field(default_factory=dict)
    _steps: int = 0

    def step(self, batch: Batch) -> Tensor:
        """Take a step that autograd can go back through."""
        states = self._states or self.ground.standing(self.start)
        loss, gradients = self.ground.slope(self.weights(), batch, others={}, exact=True)
        self._states = self.ground.advanced(
            states, self.ground.rates(self._steps, tuple(states)), gradients, self._steps
        )
        self._steps += 1
        return loss.detach()

    def weights(self) -> dict[str, Tensor]:
        """Return the weights as a function of the start."""
        return {name: state[0] for name, state in self._states.items()} or dict(self.start)

    def judge(self, query: Batch) -> Loss:
        """Return the loss there."""
        return loss_with(self.ground.model, self.weights(), query)


@dataclass
class Recalled:
    """Exact by recursion: a step keeps only where it stood; on the way back it is taken again, with its graph.

    There v <- v - rate H v, one Hessian-vector product a step; under Adam, v runs over its two means too.
    Held: the weights of every step (thrice under Adam), and one graph at a time.
    """

    ground: Ground
    start: Mapping[str, Tensor]
    _states: dict[str, State] = field(default_factory=dict)
    _steps: int = 0

    def step(self, batch: Batch) -> Tensor:
        """Take a step without a graph."""
        states = self._states or self.ground.standing(self.start)
        others, rates = self.ground.others(states), self.ground.rates(self._steps, tuple(states))
        again = _Again(self.ground, tuple(states), tuple(others), batch, self._steps)
        given = [*_flat(states), *others.values(), *([rates] if isinstance(rates, Tensor) else [])]
        loss, *after = taken(again, given)
        self._states = _named(tuple(states), after)
        self._steps += 1
        return loss

    def weights(self) -> dict[str, Tensor]:
        """Return the weights as a function of the start."""
        return {name: state[0] for name, state in self._states.items()} or dict(self.start)

    def judge(self, query: Batch) -> Loss:
        """Return the loss there; its gradients there are taken at once, so that no graph of it is kept."""
        here = self.weights()
        loss, gradients = self.ground.judged(here, query)
        return _as_known(loss, [*here.values(), *self.ground.others(here).values()], gradients)


@dataclass(frozen=True)
class _Again:
    """One step as a function of where tensors stand, of what does not move, and of learnt rates if there are some."""

    ground: Ground
    names: tuple[str, ...]
    others: tuple[str, ...]
    batch: Batch
    number: int

    def __call__(self, given: Sequence[Tensor], *, exact: bool) -> Values:
        size = len(self.names) * (3 if self.ground.adam else 1)
        states = _named(self.names, given[:size])
        others = dict(zip(self.others, given[size:], strict=False))
        rates = given[-1] if len(given) > size + len(others) else self.ground.rates(self.number, self.names)
        weights = {name: state[0] if exact else state[0].requires_grad_() for name, state in states.items()}
        loss, gradients = self.ground.slope(weights, self.batch, others=others, exact=exact)
        return (loss.detach(), *_flat(self.ground.advanced(states, rates, gradients, self.number)))


def _flat(states: Mapping[str, State]) -> list[Tensor]:
    return [value for state in states.values() for value in state]


def _named(names: Sequence[str], values: Sequence[Tensor]) -> dict[str, State]:
    size = len(values) // len(names)
    return {name: tuple(values[size * at : size * (at + 1)]) for at, name in enumerate(names)}


def _as_known(loss: Loss, inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Loss:
    parts = {name: part.detach() for name, part in loss.parts.items()}
    return Loss(known(loss.total, inputs, gradients), loss.nats.detach(), loss.tokens, parts)
