"""Rows of unequal length become one line of tokens, a pass at a time: nothing is filled up.

Shape letters: W rows, T tokens of all rows side by side, L tokens of one, N labels.
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
    """How many tokens each of W rows has, and where those stand in the line of all T.

    ``branches`` are those of each row, which stand at its end; it is empty where no row has any.
    """

    lengths: tuple[int, ...]
    device: torch.device
    branches: tuple[tuple[Branch, ...], ...] = ()

    @cached_property
    def positions(self) -> Tensor:
        """(T,) how many tokens of its row each has read."""
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
        """(W,) where each row begins in the line."""
        lengths = torch.tensor(self.lengths, device=self.device)
        return lengths.cumsum(0) - lengths

    @cached_property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """Neighbours of one length, as (rows, length): a rectangle as they stand. A branched row is alone."""
        return tuple((len(list(alike)), length) for (length, _), alike in groupby(self._kinds))

    @cached_property
    def sees(self) -> tuple[Tensor | None, ...]:
        """(L, L) of each run, True where a token has read the other; None where each has read all before it."""
        kinds = (kind for kind, _ in groupby(self._kinds))
        return tuple(None if row < 0 else _sees(length, self.branches[row], self.device) for length, row in kinds)

    @property
    def _kinds(self) -> list[tuple[int, int]]:
        """Each row's length, and its number where it has branches."""
        branched = [bool(branches) for branches in self.branches] or [False] * len(self.lengths)
        return [(length, row if branched[row] else -1) for row, length in enumerate(self.lengths)]


@dataclass(frozen=True)
class PackedChunk:
    """Some rows side by side, and the labels in them."""

    ids: tuple[Ids, ...]  # of each row
    line: Tensor  # (T,) ids side by side
    rows: SequenceLayout
    at: Tensor  # (N,) the place in the line of each label
    before: Tensor  # (N,) and of the token that predicts it
    token: Tensor  # (N,) the label itself
    exchange: Tensor  # (N,) whose it is; labels of one exchange follow each other

    @cached_property
    def ends(self) -> tuple[Tensor, Tensor]:
        """(B',) the place in the line of each exchange's last label, and the exchange."""
        last = torch.ones_like(self.exchange, dtype=torch.bool)
        last[:-1] = self.exchange[1:] != self.exchange[:-1]
        return self.at[last], self.exchange[last]


def packed_chunks(
    rows: Sequence[Ids], labels: Labels, tokens: int, branches: Sequence[tuple[Branch, ...]] = ()
) -> Iterator[PackedChunk]:
    """Yield neighbouring rows that together have at most ``tokens`` tokens, or one row alone that has more.

    ``branches`` are those of each row, or none at all.
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
        at, before = first + labels.position[here], first + labels.before[here]
        ids = tuple(rows[start:end])
        line = torch.tensor(list(chain.from_iterable(ids)), dtype=torch.long, device=device)
        yield PackedChunk(ids, line, ragged, at, before, labels.token[here], labels.exchange[here])
        start = end


def _sees(length: int, branches: Sequence[Branch], device: torch.device) -> Tensor:
    """Return (L, L): a branch has read its trunk's beginning and itself."""
    sees = torch.ones((length, length), dtype=torch.bool, device=device).tril()
    start = length - sum(branch.length for branch in branches)
    for branch in branches:
        sees[start : start + branch.length, branch.after : start] = False
        start += branch.length
    return sees
