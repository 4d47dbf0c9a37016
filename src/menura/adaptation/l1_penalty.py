"""Fine-tuning with an L1 penalty: private weights that a persona needs stay large (CMAML, Algorithm 1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from menura.adaptation.inner_loop import InnerLoop, diverged
from menura.adaptation.inner_step import InnerProblem, direction, initial_states, loss_and_gradients, lrs_of_step
from menura.batches.batch import Batch

L1Step = Literal["subgradient", "proximal"]


@dataclass(frozen=True)
class Penalty:
    """``strength`` times the L1 norm of the named weights, biases included, once per step.

    ``subgradient`` adds the sign to the gradient, so that weights oscillate around 0; ``proximal`` steps on the loss
    alone and then reduces each magnitude by lr times strength, down to 0 (soft thresholding; after a step of Adam, too,
    without its moments).
    """

    names: frozenset[str]
    strength: float
    kind: L1Step

    def gradient(self, name: str, weight: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient of loss and penalty, or of the loss alone where the penalty is a step of its own."""
        if name in self.names and self.kind == "subgradient":
            return gradient + self.strength * weight.sign()
        return gradient

    def shrunk(self, name: str, weight: Tensor, lr: Tensor | float) -> Tensor:
        """Return a weight after the penalty's own step, if it has one."""
        if name in self.names and self.kind == "proximal":
            return weight.sign() * (weight.abs() - lr * self.strength).clamp(min=0)
        return weight


def l1_finetuned_copy(
    problem: InnerProblem, start: Mapping[str, Tensor], batches: Sequence[Batch], inner: InnerLoop, penalty: Penalty
) -> dict[str, Tensor]:
    """Return a copy of ``start`` after ``inner.epochs`` epochs of the problem's optimiser; ``start`` is not changed.

    Raises NumericalError at the step whose loss is not finite.
    """
    copy = {name: value.detach().clone() for name, value in start.items()}
    states = initial_states(problem, copy)
    for step in range(inner.epochs * len(batches)):
        batch = batches[step % len(batches)]
        leaves = {name: value.requires_grad_() for name, (value, *_) in states.items()}
        loss, gradients = loss_and_gradients(problem, leaves, batch, inner_frozen={}, exact=False)
        if not torch.isfinite(loss):
            raise diverged(step, batch, inner)
        with torch.no_grad():
            lrs = list(lrs_of_step(problem, step, tuple(states)))
            for (name, (weight, *moments)), gradient, lr in zip(states.items(), gradients, lrs, strict=True):
                towards, *moments = direction(moments, penalty.gradient(name, weight, gradient), step)
                states[name] = (penalty.shrunk(name, weight.detach() - lr * towards, lr), *moments)
    return {name: value.detach() for name, (value, *_) in states.items()}
