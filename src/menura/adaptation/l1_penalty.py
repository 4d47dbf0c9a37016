"""Fine-tuning with an L1 penalty: private weights that a persona needs stay large (CMAML, Algorithm 1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from menura.adaptation.inner_loop import InnerLoop, diverged
from menura.adaptation.inner_step import InnerProblem, loss_and_gradients, lrs_of_step
from menura.batches.batch import Batch

L1Step = Literal["subgradient", "proximal"]


@dataclass(frozen=True)
class Penalty:
    """``strength`` times the L1 norm of the named weights, biases included, once per step.

    ``subgradient`` adds the sign to the gradient, so that weights oscillate around 0; ``proximal`` steps on the loss
    alone and then reduces each magnitude by lr times strength, down to 0 (soft thresholding).
    """

    names: frozenset[str]
    strength: float
    kind: L1Step

    @torch.no_grad()
    def step(self, name: str, weight: Tensor, gradient: Tensor, lr: Tensor | float) -> None:
        """Update a weight in place by a loss's gradient and the penalty."""
        if name in self.names and self.kind == "subgradient":
            gradient = gradient + self.strength * weight.sign()
        weight.sub_(lr * gradient)
        if name in self.names and self.kind == "proximal":
            weight.copy_(weight.sign() * (weight.abs() - lr * self.strength).clamp(min=0))


def l1_finetuned_copy(
    problem: InnerProblem, start: Mapping[str, Tensor], batches: Sequence[Batch], inner: InnerLoop, penalty: Penalty
) -> dict[str, Tensor]:
    """Return a copy of ``start`` after ``inner.epochs`` epochs of SGD; one copy is held, ``start`` is not changed.

    Raises NumericalError at the step whose loss is not finite.
    """
    weights = {name: value.detach().clone() for name, value in start.items()}
    for step in range(inner.epochs * len(batches)):
        batch = batches[step % len(batches)]
        leaves = {name: value.requires_grad_() for name, value in weights.items()}
        loss, gradients = loss_and_gradients(problem, leaves, batch, inner_frozen={}, exact=False)
        if not torch.isfinite(loss):
            raise diverged(step, batch, inner)
        weights = {name: value.detach() for name, value in leaves.items()}
        with torch.no_grad():
            lrs = list(lrs_of_step(problem, step, tuple(weights)))
        for (name, value), gradient, lr in zip(weights.items(), gradients, lrs, strict=True):
            penalty.step(name, value, gradient, lr)
    return weights
