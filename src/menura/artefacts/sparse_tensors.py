"""Tensors that hold many zeros become bits that say where they do not, and the values there.

So a persona with a structure of its own (CMAML) takes a bit for each edge that it might have, and a number for each
that it has.
"""

from collections.abc import Mapping
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from menura.adaptation.bitmask import packed, unpacked
from menura.errors import DataError, UnsafeError

LIVE, VALUES, SHAPE = "#live", "#values", "#shape"  # behind a tensor's name
OVERHEAD = 256  # bytes; what three entries take in a file's header


def without_zeros(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by name, those with enough exact zeros in three parts."""
    made = {}
    for name, tensor in tensors.items():
        live = tensor != 0
        saved = int((~live).sum()) * tensor.element_size() - tensor.numel() // 8 - OVERHEAD
        parts = {LIVE: packed(live), VALUES: tensor[live], SHAPE: torch.tensor(tensor.shape)}
        made.update({name + end: part for end, part in parts.items()} if saved > 0 else {name: tensor})
    return made


def with_zeros(found: Mapping[str, Tensor], place: Path, *, largest: int) -> dict[str, Tensor]:
    """Return what ``without_zeros`` was made from.

    Raises DataError where the parts do not fit one another, UnsafeError for a tensor of more than ``largest`` bytes.
    """
    made = {}
    for name, tensor in found.items():
        if name.endswith(SHAPE):
            name = name.removesuffix(SHAPE)
            made[name] = _whole(name, found, place, largest)
        elif not name.endswith((LIVE, VALUES)):
            made[name] = tensor
    return made


def _whole(name: str, found: Mapping[str, Tensor], place: Path, largest: int) -> Tensor:
    live, values, shape = (found.get(name + end, torch.empty(0)) for end in (LIVE, VALUES, SHAPE))
    sides = shape.tolist() if shape.dtype == torch.int64 and shape.dim() == 1 else [-1]
    size = prod(sides)
    if size * values.element_size() > largest:
        raise UnsafeError(f"{name} unpacks to more than {largest} bytes", place=str(place), code="card_bomb")
    bits = unpacked(live) if live.dtype == torch.uint8 and live.dim() == 1 else live
    if (
        min(sides, default=1) < 0
        or len(live) != -(-size // 8)
        or int(bits.sum()) != values.numel()
        or bits[size:].any()
    ):
        raise DataError(f"{name}: its parts do not fit one another", place=str(place), code="delta_format")
    whole = torch.zeros(size, dtype=values.dtype)
    whole[bits[:size].bool()] = values
    return whole.view(sides)
