"""One inner step as a function: where each tensor stands becomes where it stands next."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from menura.adaptation.inner_lrs import inner_lrs_of
from menura.adaptation.weights import adaptable, loss_with
from menura.batches.batch import Batch
from menura.models.dialogue_model import DialogueModel, Loss

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8

Values = tuple[Tensor, ...]
State = Values  # of one tensor: the weight; under Adam also its mean gradient and its mean squared gradient
LearningRates = Tensor | Sequence[float]  # one for each tensor that moves


@dataclass(frozen=True)
class InnerProblem:
    """What an inner loop walks on: the loss of a model, at a rate, with or without Adam's means."""

    model: DialogueModel[Any]
    lr: float
    adam: bool

    def initial_state(self, weights: Mapping[str, Tensor]) -> dict[str, State]:
        """Return where tensors stand before any step; optimiser state starts fresh for each persona."""
        fresh = 2 if self.adam else 0
        return {name: (value, *(torch.zeros_like(value) for _ in range(fresh))) for name, value in weights.items()}

    def lrs(self, step: int, names: Sequence[str]) -> LearningRates:
        """Return the rates of a step, counted from 0: the model's learnt ones where it has some."""
        learnt = inner_lrs_of(self.model)
        return learnt.of_step(step, names) if learnt else [self.lr] * len(names)

    def outer_only(self, moving: Iterable[str]) -> dict[str, Tensor]:
        """Return what the outer loop moves and the inner loop does not."""
        names = set(moving)
        return {name: value for name, value in adaptable(self.model).items() if name not in names}

    def gradients(
        self, weights: Mapping[str, Tensor], batch: Batch, *, outer_only: Mapping[str, Tensor], exact: bool
    ) -> tuple[Tensor, Values]:
        """Return a loss and its gradients by ``weights``; exact ones can be differentiated again."""
        with torch.enable_grad(), twice_differentiable() if exact else nullcontext():
            loss = loss_with(self.model, {**weights, **outer_only}, batch).total
            return loss, torch.autograd.grad(loss, list(weights.values()), create_graph=exact, materialize_grads=True)

    def updated(
        self, states: Mapping[str, State], lrs: LearningRates, gradients: Values, step: int
    ) -> dict[str, State]:
        """Return where tensors stand after a step, counted from 0, down these gradients."""
        after = {}
        for (name, (weight, *moments)), lr, gradient in zip(states.items(), lrs, gradients, strict=True):
            towards, *moments = direction(moments, gradient, step)
            after[name] = (weight - lr * towards, *moments)
        return after

    def query_gradients(self, here: Mapping[str, Tensor], query: Batch) -> tuple[Loss, Values]:
        """Return a loss and its gradients at once: first of ``here``, then of the others."""
        leaves = {name: value.detach().requires_grad_() for name, value in here.items()}
        inputs = [*leaves.values(), *self.outer_only(here).values()]
        with torch.enable_grad():
            loss = loss_with(self.model, leaves, query)
            return loss, torch.autograd.grad(loss.total, inputs, materialize_grads=True)


def direction(moments: Sequence[Tensor], gradient: Tensor, step: int) -> Values:
    """Return what is to be subtracted, times the rate, and the new means: the gradient itself where there are none.

    Adam (Kingma and Ba, 2015) as a function, nothing in place, so that it can be differentiated.
    """
    if not moments:
        return (gradient,)
    first, second = ADAM_BETAS
    mean = first * moments[0] + (1 - first) * gradient
    square = second * moments[1] + (1 - second) * gradient**2
    level = square / (1 - second ** (step + 1))
    # Within the root, so that its derivative is finite where a gradient is exactly zero.
    return mean / (1 - first ** (step + 1)) / (level + ADAM_EPSILON**2).sqrt(), mean, square


def twice_differentiable() -> AbstractContextManager[None]:
    """Use plain attention: the fused kernels have no second derivative (torch 2.13)."""
    context: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return context
