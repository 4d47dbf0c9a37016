"""A batch as tensors alone, so that a graph compiled for one batch serves others: no id is a constant in it.

Shape letters: W rows, L tokens of the longest, T tokens of all rows concatenated, N labels, D width.
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
    """Some packed rows, the indices that pad and unpad them, and the labels.

    Rows are padded on the right, and whole padding rows are added, which causal attention never sees; labels are padded
    with ones that do not count.
    """

    line: Tensor  # (T,) ids, or (T, D) the output of frozen lower layers
    positions: Tensor  # (T,) each token's place within its own row
    rectangle: Tensor  # (W, L) the index in the line of each place
    real: Tensor  # (W, L) 1 where real, 0 at padding
    corner: Tensor  # (T,) the flat index of each token in the padded rows
    before: Tensor  # (N,) the index in the line of the token that predicts each label
    token: Tensor  # (N,) the label itself
    counts: Tensor  # (N,) 1 where the label counts, else 0


@dataclass(frozen=True)
class PaddedBatch(Batch):
    """Exchanges as padded chunks. A model's loss of them has one NLL per label, not per exchange."""

    parts: tuple[PaddedChunk, ...] = ()
    whose: tuple[Tensor, ...] = ()  # (N,) of each part: the exchange of each label, 0 where it does not count

    def by_exchange(self, numbers: Tensor) -> Tensor:
        """Return (B,) sums, by exchange, of one number per label of all parts."""
        return numbers.new_zeros(len(self)).index_add(0, torch.cat(self.whose), numbers)


def padded(batch: Batch, parts: Sequence[tuple[PackedChunk, Tensor]], like: Tensor) -> PaddedBatch:
    """Return a batch's chunks, each with the content of its line, padded; ``like`` gives the dtype."""
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
    """Pad with zeros to at least ``size``."""
    return functional.pad(column, (0, max(size - len(column), 0)))
