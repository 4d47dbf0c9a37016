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

    packed: Tensor  # (T,) ids, or (T, D) the output of frozen lower layers
    positions: Tensor  # (T,) each token's position in its own row
    pad_index: Tensor  # (W, L) the index in ``packed`` of each place
    attention_mask: Tensor  # (W, L) 1 where real, 0 at padding
    unpad_index: Tensor  # (T,) the flat index of each token in the padded rows
    predict_index: Tensor  # (N,) the index in ``packed`` of the token that predicts each label
    labels: Tensor  # (N,) the label itself
    label_mask: Tensor  # (N,) 1 where the label counts, else 0


@dataclass(frozen=True)
class PaddedBatch(Batch):
    """Exchanges as padded chunks. A model's loss of them has one NLL per label, not per exchange."""

    parts: tuple[PaddedChunk, ...] = ()
    label_exchange: tuple[Tensor, ...] = ()  # (N,) of each part: the exchange of each label, 0 where it does not count

    def by_exchange(self, numbers: Tensor) -> Tensor:
        """Return (B,) sums, by exchange, of one number per label of all parts."""
        return numbers.new_zeros(len(self)).index_add(0, torch.cat(self.label_exchange), numbers)


def padded(batch: Batch, parts: Sequence[tuple[PackedChunk, Tensor]], like: Tensor) -> PaddedBatch:
    """Return a batch's chunks, each with the packed content beside it, padded; ``like`` gives the dtype."""
    label_exchange = tuple(_up_to(part.label_exchange, FEWEST_LABELS) for part, _ in parts)
    made = tuple(_padded_chunk(part, packed, like) for part, packed in parts)
    return PaddedBatch(batch.exchanges, batch.device, made, label_exchange)


def _padded_chunk(part: PackedChunk, packed: Tensor, like: Tensor) -> PaddedChunk:
    rows, longest = part.rows, max(part.rows.lengths)
    size = (max(len(rows.lengths), FEWEST_ROWS), longest)
    unpad_index = rows.row * longest + rows.positions
    pad_index = torch.zeros(size, dtype=torch.long, device=rows.device)
    pad_index.view(-1)[unpad_index] = torch.arange(len(unpad_index), device=rows.device)
    attention_mask = torch.zeros(size, dtype=like.dtype, device=rows.device)
    attention_mask.view(-1)[unpad_index] = 1
    label_mask = torch.ones_like(part.labels, dtype=like.dtype)
    columns = (_up_to(column, FEWEST_LABELS) for column in (part.predict_index, part.labels, label_mask))
    return PaddedChunk(packed, rows.positions, pad_index, attention_mask, unpad_index, *columns)


def _up_to(column: Tensor, size: int) -> Tensor:
    """Pad with zeros to at least ``size``."""
    return functional.pad(column, (0, max(size - len(column), 0)))
