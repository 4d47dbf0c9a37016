"""A batch as tensors alone, so that what was compiled for one batch serves another: no id is a constant in it.

Shape letters: W rows, L tokens of the longest, T tokens of all rows side by side, N labels, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from menura.batches.batch import Batch
from menura.batches.varlen import PackedChunk

# A compiled graph serves all sizes from two on; a size of one would be a case of its own.
FEWEST_ROWS = FEWEST_LABELS = 2


class PaddedChunk(NamedTuple):
    """Some rows side by side, where each token stands in their rectangle, and the labels.

    The rectangle is filled up on the right, and with whole rows, where causal attention never looks; labels are filled
    up with some that do not count.
    """

    line: Tensor  # (T,) ids, or (T, D) what frozen lower layers made of them
    positions: Tensor  # (T,) each token's place within its own row
    rectangle: Tensor  # (W, L) the place in the line of what stands there
    real: Tensor  # (W, L) 1 where something does, else 0
    corner: Tensor  # (T,) where in the rectangle, row by row, each token stands
    before: Tensor  # (N,) the place in the line of the token that predicts each label
    token: Tensor  # (N,) the label itself
    counts: Tensor  # (N,) 1 where the label counts, else 0


@dataclass(frozen=True)
class PaddedBatch(Batch):
    """Exchanges, and all that a loss reads of them. A model's loss of it has a number a label, not an exchange."""

    parts: tuple[PaddedChunk, ...] = ()
    whose: tuple[Tensor, ...] = ()  # (N,) of each part: the exchange of each label, 0 where it does not count

    def by_exchange(self, numbers: Tensor) -> Tensor:
        """Return (B,) sums of a number a label, of all parts one after the other."""
        return numbers.new_zeros(len(self)).index_add(0, torch.cat(self.whose), numbers)


def padded(batch: Batch, parts: Sequence[tuple[PackedChunk, Tensor]], like: Tensor) -> PaddedBatch:
    """Return a batch's passes, each with what is to stand in its line, filled up; ``like`` gives the number format."""
    whose = tuple(_up_to(part.exchange, FEWEST_LABELS) for part, _ in parts)
    made = tuple(_padded_chunk(part, line, like) for part, line in parts)
    return PaddedBatch(batch.exchanges, batch.device, made, whose)


def _padded_chunk(part: PackedChunk, line: Tensor, like: Tensor) -> PaddedChunk:
    rows, longest = part.rows, max(part.rows.lengths)
    size = (max(len(rows.lengths), FEWEST_ROWS), longest)
    corner = rows.row * longest + rows.positions
    rectangle = torch.zeros(size, dtype=torch.long, device=rows.device)
    rectangle.view(-1)[corner] = torch.arange(len(corner), device=rows.device)
    real = torch.zeros(size, dtype=like.dtype, device=rows.device)
    real.view(-1)[corner] = 1
    counts = torch.ones_like(part.token, dtype=like.dtype)
    labels = (_up_to(column, FEWEST_LABELS) for column in (part.before, part.token, counts))
    return PaddedChunk(line, rows.positions, rectangle, real, corner, *labels)


def _up_to(column: Tensor, size: int) -> Tensor:
    """Fill up with zeros to at least ``size``."""
    return functional.pad(column, (0, max(size - len(column), 0)))
