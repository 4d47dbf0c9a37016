"""One inner step as a function of the weights and optimiser state, and the learning rates of a step.

The rate is fixed, or learnt for each tensor (Meta-SGD, Li et al., 2017; MAML++, Antoniou et al., 2019).
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from menura.adaptation.weights import RATES, adaptable_parameters, loss_with
from menura.batches.batch import Batch
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, HasLossParts, Loss

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8

LOGARITHM = f"{RATES}logarithm"

Values = tuple[Tensor, ...]
State = Values  # of one tensor: the weight; with Adam also its two moments (means of gradient and squared gradient)
LearningRates = Tensor | Sequence[float]  # one for each tensor that moves


@dataclass(frozen=True)
class InnerProblem:
    """What an inner loop minimises, and how: a model's loss, a learning rate, SGD or Adam."""

    model: DialogueModel[Any]
    lr: float
    adam: bool


def initial_states(problem: InnerProblem, weights: Mapping[str, Tensor]) -> dict[str, State]:
    """Return the states before any step; optimiser state is fresh for each persona."""
    fresh = 2 if problem.adam else 0
    return {name: (value, *(torch.zeros_like(value) for _ in range(fresh))) for name, value in weights.items()}


def lrs_of_step(problem: InnerProblem, step: int, names: Sequence[str]) -> LearningRates:
    """Return the learning rates of a step, counted from 0: the model's learnt ones, if it has any."""
    learnt = inner_lrs_of(problem.model)
    return learnt.of_step(step, names) if learnt else [problem.lr] * len(names)


def inner_frozen_of(problem: InnerProblem, adapted: Iterable[str]) -> dict[str, Tensor]:
    """Return the parameters that the outer loop moves and the inner loop does not."""
    names = set(adapted)
    return {name: value for name, value in adaptable_parameters(problem.model).items() if name not in names}


def loss_and_gradients(
    problem: InnerProblem,
    weights: Mapping[str, Tensor],
    batch: Batch,
    *,
    inner_frozen: Mapping[str, Tensor],
    exact: bool,
) -> tuple[Tensor, Values]:
    """Return a loss and its gradients for ``weights``; with ``exact`` they can be differentiated again.

    Without, a model that can gives them part by part, so that no more than one part's graph is in memory.
    """
    if not exact and isinstance(problem.model, HasLossParts):
        return _summed(_parts_in_turn(problem, weights, problem.model.parts(batch), inner_frozen))
    with torch.enable_grad(), twice_differentiable() if exact else nullcontext():
        loss = loss_with(problem.model, {**weights, **inner_frozen}, batch).total
        return loss, torch.autograd.grad(loss, list(weights.values()), create_graph=exact, materialize_grads=True)


def _parts_in_turn(
    problem: InnerProblem, weights: Mapping[str, Tensor], parts: Sequence[Batch], inner_frozen: Mapping[str, Tensor]
) -> Iterator[tuple[Tensor, Values]]:
    """Yield each part's share of the loss, detached, and of the gradients."""
    for part in parts:
        with torch.enable_grad():
            loss = loss_with(problem.model, {**weights, **inner_frozen}, part).total
            yield loss.detach(), torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)


@torch.no_grad()
def _summed(shares: Iterator[tuple[Tensor, Values]]) -> tuple[Tensor, Values]:
    loss, gradients = next(shares)
    for share, more in shares:
        loss = loss + share
        gradients = tuple(gradient.add_(other) for gradient, other in zip(gradients, more, strict=True))
    return loss, gradients


def updated_states(
    problem: InnerProblem, states: Mapping[str, State], lrs: LearningRates, gradients: Values, step: int
) -> dict[str, State]:
    """Return the states after a step, counted from 0, with these gradients."""
    after = {}
    for (name, (weight, *moments)), lr, gradient in zip(states.items(), lrs, gradients, strict=True):
        towards, *moments = direction(moments, gradient, step)
        after[name] = (weight - lr * towards, *moments)
    return after


def query_loss_and_gradients(problem: InnerProblem, here: Mapping[str, Tensor], query: Batch) -> tuple[Loss, Values]:
    """Return a loss and its gradients: first for ``here``, then for the parameters of the outer loop only."""
    leaves = {name: value.detach().requires_grad_() for name, value in here.items()}
    inputs = [*leaves.values(), *inner_frozen_of(problem, here).values()]
    with torch.enable_grad():
        loss = loss_with(problem.model, leaves, query)
        return loss, torch.autograd.grad(loss.total, inputs, materialize_grads=True)


def direction(moments: Sequence[Tensor], gradient: Tensor, step: int) -> Values:
    """Return the update, to be subtracted times the learning rate, and the new moments; for SGD the gradient itself.

    Adam (Kingma and Ba, 2015) as a function without in-place operations, so that it can be differentiated.
    """
    if not moments:
        return (gradient,)
    first, second = ADAM_BETAS
    mean = first * moments[0] + (1 - first) * gradient
    square = second * moments[1] + (1 - second) * gradient**2
    level = square / (1 - second ** (step + 1))
    # Epsilon is inside the root, so that the derivative is finite where a gradient is exactly zero.
    return mean / (1 - first ** (step + 1)) / (level + ADAM_EPSILON**2).sqrt(), mean, square


def twice_differentiable() -> AbstractContextManager[None]:
    """Use plain attention: the fused kernels have no second derivative (torch 2.13)."""
    context: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return context


class InnerLearningRates(nn.Module):
    """The learning rate of each tensor by name, a row for each of the first inner steps; later steps use the last row.

    Their logarithms are trained, so that rates stay positive.
    """

    def __init__(self, names: Sequence[str], logarithm: Tensor) -> None:
        super().__init__()
        self.column = {name: index for index, name in enumerate(names)}
        self.logarithm = nn.Parameter(logarithm)  # (rows, tensors)

    @property
    def rows(self) -> int:
        """How many steps have rates of their own."""
        return len(self.logarithm)

    def of_step(self, step: int, names: Sequence[str]) -> Tensor:
        """Return (names,) rates of an inner step, counted from 0, as a function of the logarithms."""
        columns = torch.tensor([self.column[name] for name in names], device=self.logarithm.device)
        return self.logarithm[min(step, self.rows - 1)][columns].exp()


def inner_lrs_of(model: DialogueModel[Any]) -> InnerLearningRates | None:
    """Return a model's learnt rates, if it has any."""
    found = getattr(model, RATES.rstrip("."), None)
    return found if isinstance(found, InnerLearningRates) else None


def attach_inner_lrs(model: DialogueModel[Any], lr: float, rows: int) -> None:
    """Add learnable inner learning rates to the model, initially ``lr``; rates from a checkpoint stay.

    Raises ConfigError if the checkpoint's have another number of rows.
    """
    found = inner_lrs_of(model)
    if found and found.rows != rows:
        raise ConfigError(f"method.lr_steps: {rows}, but the start has rates for {found.rows}")
    if not found:
        adapting = {name: p for name, p in model.named_parameters() if p.requires_grad}
        first = next(iter(adapting.values()))
        logarithm = torch.full((rows, len(adapting)), math.log(lr), dtype=first.dtype, device=first.device)
        model.add_module(RATES.rstrip("."), InnerLearningRates(tuple(adapting), logarithm))


def restore_inner_lrs(model: DialogueModel[Any], found: Mapping[str, Tensor]) -> None:
    """Add learnable rates to the model if a checkpoint has them; their values are loaded with the other weights."""
    if LOGARITHM in found and found[LOGARITHM].ndim > 0:
        attach_inner_lrs(model, 1.0, len(found[LOGARITHM]))
