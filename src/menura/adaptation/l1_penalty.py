"""Fine-tuning towards few private weights: what a persona needs stays large, the rest shrinks (CMAML, Algorithm 1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from menura.adaptation.inner_loop import InnerLoop, diverged
from menura.adaptation.inner_step import InnerProblem, loss_and_gradients, lrs_of_step
from menura.batches.batch import Batch

Kind = Literal["subgradient", "proximal"]


@dataclass(frozen=True)
class Penalty:
    """``strength`` times the sum of magnitudes of the weights named, once a step, biases included.

    ``subgradient`` adds its sign to the gradient, so that weights swing around 0; ``proximal`` steps down the loss
    alone and then takes rate times strength off each magnitude, not beyond 0.
    """

    names: frozenset[str]
    strength: float
    kind: Kind

    @torch.no_grad()
    def step(self, name: str, weight: Tensor, gradient: Tensor, lr: Tensor | float) -> None:
        """Move a weight, in place, down a loss's gradient and the penalty."""
        if name in self.names and self.kind == "subgradient":
            gradient = gradient + self.strength * weight.sign()
        weight.sub_(lr * gradient)
        if name in self.names and self.kind == "proximal":
            weight.copy_(weight.sign() * (weight.abs() - lr * self.strength).clamp(min=0))


def sparse_copy(
    problem: InnerProblem, start: Mapping[str, Tensor], batches: Sequence[Batch], inner: InnerLoop, penalty: Penalty
) -> dict[str, Tensor]:
    """Return a copy of the start after ``inner.epochs`` passes of SGD; one copy is held, nothing is changed.

    Raises NumericalError at the step whose loss is not finite.
    """
    weights = {name: value.detach().clone() for name, value in start.items()}
    for step in range(inner.epochs * len(batches)):
        batch = batches[step % len(batches)]
        leaves = {name: value.requires_grad_() for name, value in weights.items()}
        loss, gradients = loss_and_gradients(problem, leaves, batch, outer_only={}, exact=False)
        if not torch.isfinite(loss):
            raise diverged(step, batch, inner)
        weights = {name: value.detach() for name, value in leaves.items()}
        with torch.no_grad():
            lrs = list(lrs_of_step(problem, step, tuple(weights)))
        for (name, value), gradient, lr in zip(weights.items(), gradients, lrs, strict=True):
            penalty.step(name, value, gradient, lr)
    return weights
