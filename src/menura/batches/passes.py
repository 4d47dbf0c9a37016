"""Rows of unequal length become one line of tokens, a pass at a time: nothing is filled up.

Shape letters: W rows, T tokens of all rows side by side, N labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor

from menura.batches.collate import Ids, Labels


@dataclass(frozen=True)
class Rows:
    """How many tokens each of W rows has, and where those stand in the line of all T."""

    lengths: tuple[int, ...]
    device: torch.device

    @cached_property
    def positions(self) -> Tensor:
        """(T,) each token's place within its own row."""
        return torch.cat([torch.arange(length, device=self.device) for length in self.lengths])

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
        """Neighbours of one length, as (rows, length): they make a rectangle as they stand."""
        return tuple((len(list(alike)), length) for length, alike in groupby(self.lengths))


@dataclass(frozen=True)
class Pass:
    """Some rows side by side, and the labels in them."""

    ids: tuple[Ids, ...]  # of each row
    rows: Rows
    before: Tensor  # (N,) the place in the line of the token that predicts each label
    token: Tensor  # (N,) the label itself
    exchange: Tensor  # (N,) whose it is; labels of one exchange follow each other

    @cached_property
    def line(self) -> Tensor:
        """(T,) ids side by side."""
        return torch.tensor([token for row in self.ids for token in row], device=self.rows.device)

    @cached_property
    def ends(self) -> tuple[Tensor, Tensor]:
        """(B',) the place in the line of each exchange's last label, and the exchange."""
        last = torch.ones_like(self.exchange, dtype=torch.bool)
        last[:-1] = self.exchange[1:] != self.exchange[:-1]
        return self.before[last] + 1, self.exchange[last]


def passes(rows: Sequence[Ids], labels: Labels, tokens: int) -> Iterator[Pass]:
    """Yield neighbouring rows that together have at most ``tokens`` tokens, or one row alone that has more."""
    device = labels.row.device
    start = 0
    while start < len(rows):
        end, room = start + 1, tokens - len(rows[start])
        while end < len(rows) and len(rows[end]) <= room:
            room -= len(rows[end])
            end += 1
        here = (labels.row >= start) & (labels.row < end)
        ragged = Rows(tuple(len(row) for row in rows[start:end]), device)
        before = ragged.starts[labels.row[here] - start] + labels.position[here] - 1
        yield Pass(tuple(rows[start:end]), ragged, before, labels.token[here], labels.exchange[here])
        start = end
