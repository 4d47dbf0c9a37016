"""What autograd is told instead of finding it out: gradients that are known, steps that can be taken again."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Values = tuple[Tensor, ...]


class CheckpointedStep(Protocol):
    """A step as a function of all that its gradient is wanted for."""

    def __call__(self, given: Sequence[Tensor], *, exact: bool) -> Values:
        """Return the step's loss, free of any graph, and what it leads to; exact: with a graph to go back through."""


def with_gradients(value: Tensor, inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Return the value as a function of ``inputs`` with these gradients, whatever it was made from."""
    made: Tensor = _Known.apply(value.detach(), len(inputs), *inputs, *gradients)  # type: ignore[no-untyped-call]  # torch's own
    return made


def checkpointed_step(step: CheckpointedStep, given: Sequence[Tensor]) -> Values:
    """Take a step that keeps only ``given``; going back through it takes it again."""
    made: Values = _Taken.apply(step, *given)  # type: ignore[no-untyped-call]  # torch's own
    return made


class _Known(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, inputs: int, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors[inputs:])
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.saved_tensors
        return (None, None, *(slope * gradient for gradient in gradients), *(None for _ in gradients))


class _Taken(torch.autograd.Function):
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
    """Return the precision of now, to be entered later: backward runs outside of the autocast that forward ran in."""
    kind, enabled = torch.get_autocast_dtype(device), torch.is_autocast_enabled(device)
    return partial(torch.autocast, device, kind, enabled=enabled)
