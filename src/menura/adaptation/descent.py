"""The inner loop: some steps down the loss of a support set, as a function of the weights it starts from."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from menura.adaptation.weights import PersonaWeights, loss_with
from menura.batches.batch import Batch
from menura.batches.encode import EncodedDialogue
from menura.errors import ConfigError, NumericalError
from menura.models.dialogue_model import DialogueModel

Order = Literal["exact", "first"]
Watch = Callable[[int, int, float], None]  # steps done, steps in all, support loss in nats per token

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8


@dataclass(frozen=True)
class Descent:
    """``epochs`` passes over the support set in mini-batches of ``batch`` exchanges (0 = all at once), at ``rate``.

    A pass is ceil(support / batch) steps (spec A5); exchanges keep their order, so that those of one dialogue share a
    row. Optimiser state starts fresh for each persona.
    """

    rate: float = 1e-3
    epochs: int = 1
    batch: int = 16
    optimizer: Literal["sgd", "adam"] = "sgd"

    def __post_init__(self) -> None:
        """Refuse settings under which nothing could be learnt."""
        if self.rate <= 0:
            raise ConfigError(f"inner.rate: {self.rate}, must be > 0")
        if self.epochs < 0 or self.batch < 0:
            raise ConfigError(f"inner.epochs: {self.epochs} and inner.batch: {self.batch} must not be negative")


@dataclass
class _Adam:
    """Adam as a function (Kingma and Ba, 2015): its own state, nothing in place, so that it can be differentiated."""

    mean: dict[str, Tensor]
    square: dict[str, Tensor]
    steps: int = 0

    def step(self, name: str, gradient: Tensor) -> Tensor:
        """Return the direction to subtract, times the rate."""
        first, second = ADAM_BETAS
        self.mean[name] = first * self.mean.get(name, torch.zeros_like(gradient)) + (1 - first) * gradient
        self.square[name] = second * self.square.get(name, torch.zeros_like(gradient)) + (1 - second) * gradient**2
        mean = self.mean[name] / (1 - first**self.steps)
        square = self.square[name] / (1 - second**self.steps)
        # Within the root, so that its derivative is finite where a gradient is exactly zero.
        return mean / (square + ADAM_EPSILON**2).sqrt()


def mini_batches(model: DialogueModel[Any], support: Sequence[EncodedDialogue], size: int) -> list[Batch]:
    """Cut the support's exchanges, in order, into batches of ``size`` (0 = one batch)."""
    exchanges = iter(chain.from_iterable(support))
    if size == 0:
        return [model.batch(tuple(exchanges))]
    pieces = iter(lambda: tuple(islice(exchanges, size)), ())
    return [model.batch(piece) for piece in pieces]


def descend(
    model: DialogueModel[Any],
    start: PersonaWeights,
    support: Sequence[EncodedDialogue],
    inner: Descent,
    *,
    order: Order = "first",
    watch: Watch | None = None,
) -> dict[str, Tensor]:
    """Return weights after the inner loop, still a function of ``start``; neither model nor start is changed.

    Under ``first`` every step's gradient is taken as a constant, so that d(result)/d(start) is the identity
    (first-order MAML); under ``exact`` the graph runs through every step (Finn et al., 2017, Eq. 1).
    Raises NumericalError at the step whose loss is not finite.
    """
    weights = dict(start)
    adam = _Adam({}, {})
    batches = mini_batches(model, support, inner.batch) if inner.epochs and support else []
    steps = inner.epochs * len(batches)
    for step in range(steps):
        batch = batches[step % len(batches)]
        loss, gradients = _gradients(model, weights, batch, order)
        if not torch.isfinite(loss):
            raise _diverged(step, batch, inner)
        adam.steps += 1
        for name, gradient in gradients.items():
            direction = adam.step(name, gradient) if inner.optimizer == "adam" else gradient
            weights[name] = weights[name] - inner.rate * direction
        if watch:
            watch(step + 1, steps, float(loss.detach()))
    return weights


def _gradients(
    model: DialogueModel[Any], weights: PersonaWeights, batch: Batch, order: Order
) -> tuple[Tensor, dict[str, Tensor]]:
    exact = order == "exact"
    at = weights if exact else {name: value.detach().requires_grad_() for name, value in weights.items()}
    with torch.enable_grad(), twice_differentiable() if exact else nullcontext():
        loss = loss_with(model, at, batch).total
        gradients = torch.autograd.grad(loss, list(at.values()), create_graph=exact)
    return loss, dict(zip(at, gradients, strict=True))


def twice_differentiable() -> AbstractContextManager[None]:
    """Use plain attention: the fused kernels have no second derivative (torch 2.13)."""
    context: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return context


def _diverged(step: int, batch: Batch, inner: Descent) -> NumericalError:
    dialogues = sorted({exchange.dialogue_id for exchange in batch.exchanges})
    return NumericalError(
        f"inner step {step + 1}: the loss is not finite (dialogues {', '.join(dialogues[:5])})",
        hint=f"try a smaller inner rate than {inner.rate}",
    )
