"""Adapted weights become two distances: of personas from the model, and from one another (CMAML, Δ and Diff).

M is the number of a model's parameters, D(i, j) the squared distance of two weights over M (or the distance itself
over M: the paper does not say, and its figures fit the square; spec section 9).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

COMPARED_BY_L2 = 24  # personas whose steps are kept for the unsquared mean, which cannot be computed in one pass


@dataclass(frozen=True)
class Distances:
    """Means over ``personas``, and over all their pairs: ``delta`` from the initial weights, ``diff`` from one another.

    ``diff_l2`` is over the first ``l2_personas`` of them.
    """

    parameters: int  # M, the number of the model's parameters (a key of saved results)
    personas: int
    l2_personas: int
    delta_sq: float
    diff_sq: float
    delta_l2: float
    diff_l2: float

    @property
    def said(self) -> str:
        """Return them as text, as in CMAML's tables, in units of 1e-10."""
        shown = [1e10 * value for value in (self.delta_sq, self.diff_sq, self.delta_l2, self.diff_l2)]
        delta_sq, diff_sq, delta_l2, diff_l2 = (f"{value:,.4g}" for value in shown)
        if self.personas < 2:
            return f"Δ {delta_sq} (e-10, squared; l2 {delta_l2}; M {self.parameters:,})"
        return f"Δ {delta_sq}, Diff {diff_sq} (e-10, squared; l2 {delta_l2}, {diff_l2}; M {self.parameters:,})"


@dataclass
class WeightDistances:
    """Accumulates distances of adapted weights; keeps one sum of steps and the first few personas' steps."""

    num_parameters: int  # M
    keeps: int = COMPARED_BY_L2  # personas whose steps are kept
    _squares: list[float] = field(default_factory=list)  # of each persona's step
    _sum: dict[str, Tensor] = field(default_factory=dict)
    _first: list[dict[str, Tensor]] = field(default_factory=list)

    @torch.no_grad()
    def add(self, start: Mapping[str, Tensor], adapted: Mapping[str, Tensor]) -> None:
        """Add one persona's weights; names missing in ``adapted`` did not move."""
        self._add({name: (value - start[name]).float() for name, value in adapted.items()})

    def add_all(self, other: "WeightDistances") -> None:
        """Add the personas of another, which has kept all of their steps."""
        assert len(other._first) == len(other._squares), "a step was not kept"
        for step in other._first:
            self._add(step)

    def _add(self, step: dict[str, Tensor]) -> None:
        self._squares.append(_dot(step, step))
        self._sum = {name: self._sum.get(name, 0) + value for name, value in step.items()} if step else self._sum
        if len(self._first) < self.keeps:
            self._first.append(step)

    def distances(self) -> Distances | None:
        """Return the means; with one persona ``diff`` is NaN, with none there is nothing to return."""
        n, m = len(self._squares), self.num_parameters
        if not n:
            return None
        pairs = n * (n - 1) / 2
        # Σ over pairs of ‖δ_i − δ_j‖² = n Σ ‖δ_i‖² − ‖Σ δ_i‖², so that no step need be kept.
        apart = n * math.fsum(self._squares) - _dot(self._sum, self._sum)
        norms = [math.sqrt(square) for square in self._squares]
        between = [
            math.sqrt(max(_dot(gap, gap), 0.0))
            for index, one in enumerate(self._first)
            for other in self._first[:index]
            for gap in [{name: one[name] - other[name] for name in one}]
        ]
        return Distances(
            *(m, n, len(self._first)),
            delta_sq=_mean(self._squares) / m,
            diff_sq=max(apart, 0.0) / pairs / m if pairs else math.nan,
            delta_l2=_mean(norms) / m,
            diff_l2=_mean(between) / m,
        )


def _dot(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    return math.fsum(float(torch.vdot(one[name].double().flatten(), other[name].double().flatten())) for name in one)


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
