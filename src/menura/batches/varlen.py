"""Packed sequences: rows of unequal length are concatenated to one line of tokens, without padding.

Shape letters: W rows, T tokens of all rows concatenated, L tokens of one, N labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, groupby

import torch
from torch import Tensor

from menura.batches.collate import Ids, Labels
from menura.batches.prefix_tree import Branch


@dataclass(frozen=True)
class SequenceLayout:
    """The lengths of W rows, and the indices of their tokens among all T, concatenated.

    ``branches`` are those of each row, at its end; it is empty if no row has any.
    """

    lengths: tuple[int, ...]
    device: torch.device
    branches: tuple[tuple[Branch, ...], ...] = ()

    @cached_property
    def positions(self) -> Tensor:
        """(T,) each token's position in its row, or in its trunk and branch."""
        ranges = [
            stretch
            for length, branches in zip(self.lengths, self.branches or [()] * len(self.lengths), strict=True)
            for stretch in (
                (0, length - sum(branch.length for branch in branches)),
                *((branch.after, branch.after + branch.length) for branch in branches),
            )
        ]
        return torch.cat([torch.arange(*stretch, device=self.device) for stretch in ranges])

    @cached_property
    def row(self) -> Tensor:
        """(T,) each token's row."""
        lengths = torch.tensor(self.lengths, device=self.device)
        return torch.repeat_interleave(torch.arange(len(self.lengths), device=self.device), lengths)

    @cached_property
    def starts(self) -> Tensor:
        """(W,) the index of each row's first token."""
        lengths = torch.tensor(self.lengths, device=self.device)
        return lengths.cumsum(0) - lengths

    @cached_property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """Groups of neighbouring rows of equal length, as (rows, length). A row with branches is a group of its own."""
        return tuple((len(list(alike)), length) for (length, _), alike in groupby(self._kinds))

    @cached_property
    def sees(self) -> tuple[Tensor | None, ...]:
        """(L, L) the attention mask of each run, True where a token attends to another; None if causal."""
        kinds = (kind for kind, _ in groupby(self._kinds))
        return tuple(None if row < 0 else _sees(length, self.branches[row], self.device) for length, row in kinds)

    @property
    def _kinds(self) -> list[tuple[int, int]]:
        """Each row's length, and its index if it has branches."""
        branched = [bool(branches) for branches in self.branches] or [False] * len(self.lengths)
        return [(length, row if branched[row] else -1) for row, length in enumerate(self.lengths)]


@dataclass(frozen=True)
class PackedChunk:
    """Some concatenated rows, and their labels."""

    ids: tuple[Ids, ...]  # of each row
    packed: Tensor  # (T,) concatenated ids
    rows: SequenceLayout
    label_index: Tensor  # (N,) the index in ``packed`` of each label
    predict_index: Tensor  # (N,) and of the token that predicts it
    labels: Tensor  # (N,) the label itself
    label_exchange: Tensor  # (N,) its exchange; labels of one exchange are adjacent

    @cached_property
    def ends(self) -> tuple[Tensor, Tensor]:
        """(B',) the index in ``packed`` of each exchange's last label, and the exchange."""
        last = torch.ones_like(self.label_exchange, dtype=torch.bool)
        last[:-1] = self.label_exchange[1:] != self.label_exchange[:-1]
        return self.label_index[last], self.label_exchange[last]


def packed_chunks(
    rows: Sequence[Ids], labels: Labels, tokens: int, branches: Sequence[tuple[Branch, ...]] = ()
) -> Iterator[PackedChunk]:
    """Yield chunks of neighbouring rows of at most ``tokens`` tokens together, or of one longer row.

    ``branches`` are those of each row, or empty.
    """
    device = labels.row.device
    start = 0
    while start < len(rows):
        end, room = start + 1, tokens - len(rows[start])
        while end < len(rows) and len(rows[end]) <= room:
            room -= len(rows[end])
            end += 1
        here = (labels.row >= start) & (labels.row < end)
        ragged = SequenceLayout(tuple(len(row) for row in rows[start:end]), device, tuple(branches[start:end]))
        first = ragged.starts[labels.row[here] - start]
        label_index, predict_index = first + labels.position[here], first + labels.predict_position[here]
        ids = tuple(rows[start:end])
        packed = torch.tensor(list(chain.from_iterable(ids)), dtype=torch.long, device=device)
        yield PackedChunk(ids, packed, ragged, label_index, predict_index, labels.token[here], labels.exchange[here])
        start = end


def _sees(length: int, branches: Sequence[Branch], device: torch.device) -> Tensor:
    """Return the mask (L, L): a branch attends to its trunk's beginning and to itself."""
    sees = torch.ones((length, length), dtype=torch.bool, device=device).tril()
    start = length - sum(branch.length for branch in branches)
    for branch in branches:
        sees[start : start + branch.length, branch.after : start] = False
        start += branch.length
    return sees
