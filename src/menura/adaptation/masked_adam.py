"""An outer step that changes weights and Adam's moments only where a task of the step has the weight."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def moving_only(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor], moves: Mapping[str, Tensor]
) -> Iterator[None]:
    """After the block, undo its optimiser step on weights and their moments where ``moves`` is False.

    A gradient of 0 is not enough: Adam moves on by its momentum, and weight decay shrinks. Weights without an entry in
    ``moves`` move as usual. Adam counts steps per tensor, so a weight has the bias correction of its whole tensor.
    """
    still = [(weights[name], ~there) for name, there in moves.items()]
    before = [(weight.detach().clone(), _moments(optimizer, weight)) for weight, _ in still]
    yield
    for (weight, where), (value, moments) in zip(still, before, strict=True):
        with torch.no_grad():
            weight.copy_(torch.where(where, value, weight))
        for kind, now in optimizer.state.get(weight, {}).items():
            if _of_shape(now, weight):
                now.copy_(torch.where(where, moments.get(kind, torch.zeros_like(now)), now))


def _moments(optimizer: torch.optim.Optimizer, weight: Tensor) -> dict[str, Tensor]:
    """Return copies of the optimiser's state tensors that have the shape of a weight."""
    state = optimizer.state.get(weight, {})
    return {kind: value.clone() for kind, value in state.items() if _of_shape(value, weight)}


def _of_shape(value: object, weight: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == weight.shape
