"""Rows of unequal length stand by time: all first tokens, then all second ones, the longest row first.

As a line nothing is filled up, and each step has fewer rows; as a block, which one call can read, the ends are.

Shape letters: B sequences, R rows, S tokens of the longest, T tokens of all rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import torch
from torch import Tensor

from menura.batches.collate import Ids, pad


@dataclass(frozen=True)
class TimeMajor:
    """B sequences in R rows, longest first; a sequence that another begins with stands in that one's row."""

    rows: tuple[Ids, ...]
    row: tuple[int, ...]  # of each sequence
    lengths: tuple[int, ...]  # of each sequence
    device: torch.device

    @classmethod
    def of(cls, sequences: Sequence[Ids], device: torch.device, *, shared: bool) -> "TimeMajor":
        """Lay sequences out; ``shared`` lets those share a row that begin alike."""
        rows: list[Ids] = []
        row = [0] * len(sequences)
        for index in sorted(range(len(sequences)), key=lambda index: -len(sequences[index])):
            ids = sequences[index]
            found = next((r for r, held in enumerate(rows) if shared and held[: len(ids)] == ids), len(rows))
            if found == len(rows):
                rows.append(ids)
            row[index] = found
        return cls(tuple(rows), tuple(row), tuple(len(ids) for ids in sequences), device)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """How many rows have a token at each time."""
        longest = len(self.rows[0]) if self.rows else 0
        return tuple(sum(len(row) > time for row in self.rows) for time in range(longest))

    @cached_property
    def line(self) -> Tensor:
        """(T,) ids by time."""
        ids = [row[time] for time, count in enumerate(self.counts) for row in self.rows[:count]]
        return torch.tensor(ids, dtype=torch.long, device=self.device)

    @cached_property
    def standing(self) -> Tensor:
        """(T,) the row of each token of the line."""
        rows = list(chain.from_iterable(range(count) for count in self.counts))
        return torch.tensor(rows, dtype=torch.long, device=self.device)

    @cached_property
    def block(self) -> Tensor:
        """(S, R) ids, filled up behind the ends of rows."""
        return pad(self.rows)[0].T.to(self.device)

    @cached_property
    def last(self) -> Tensor:
        """(B,) where each sequence's last token stands in the flat block, ``S R`` for one without any."""
        rows, nothing = len(self.rows), len(self.counts) * len(self.rows)
        pairs = zip(self.row, self.lengths, strict=True)
        ends = [(length - 1) * rows + row if length else nothing for row, length in pairs]
        return torch.tensor(ends, dtype=torch.long, device=self.device)

    @cached_property
    def own(self) -> Tensor:
        """(B, S R + 1) True at a sequence's own places in the flat block; one without any has the place behind it."""
        row, length = (torch.tensor(values, device=self.device)[:, None, None] for values in (self.row, self.lengths))
        time = torch.arange(len(self.counts), device=self.device)[:, None]
        there = (torch.arange(len(self.rows), device=self.device) == row) & (time < length)
        return torch.cat([there.flatten(1), length[:, 0] == 0], 1)
