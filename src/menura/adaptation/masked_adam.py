"""An outer step that moves only what its tasks have: elsewhere neither weights nor Adam's moments change."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def moving_only(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor], moves: Mapping[str, Tensor]
) -> Iterator[None]:
    """Undo, when the block is over, what its step did to weights and their moments where ``moves`` is False.

    A gradient of 0 is not enough: Adam goes on by its momentum, and decay shrinks. Weights that ``moves`` leaves out
    move as they do. Adam counts steps by tensor, so an edge's correction for early steps is that of its tensor.
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
    """Return copies of what the optimiser keeps for each value of a weight."""
    state = optimizer.state.get(weight, {})
    return {kind: value.clone() for kind, value in state.items() if _of_shape(value, weight)}


def _of_shape(value: object, weight: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == weight.shape
