"""Rows of unequal length become one line by time: all first tokens, then all second ones, the longest row first.

Recurrent models read it a step at a time, each step fewer rows, and nothing is filled up.

Shape letters: B sequences, R rows, S tokens of the longest, T tokens of all rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from menura.batches.collate import Ids


@dataclass(frozen=True)
class Timed:
    """B sequences in R rows, longest first; a sequence that another begins with stands in that one's row."""

    rows: tuple[Ids, ...]
    row: tuple[int, ...]  # of each sequence
    lengths: tuple[int, ...]  # of each sequence
    device: torch.device

    @classmethod
    def of(cls, sequences: Sequence[Ids], device: torch.device, *, shared: bool) -> "Timed":
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
        ids = [self.rows[row][time] for time, count in enumerate(self.counts) for row in range(count)]
        return torch.tensor(ids, dtype=torch.long, device=self.device)

    @cached_property
    def places(self) -> Tensor:
        """(B, S) where each token of a sequence stands in the line; 0 behind a sequence's end."""
        starts = [0, *accumulate(self.counts)]
        places = torch.zeros((len(self.lengths), len(self.counts)), dtype=torch.long)
        for index, (row, length) in enumerate(zip(self.row, self.lengths, strict=True)):
            places[index, :length] = torch.tensor([start + row for start in starts[:length]], dtype=torch.long)
        return places.to(self.device)

    @cached_property
    def mask(self) -> Tensor:
        """(B, S) True where a sequence has a token."""
        lengths = torch.tensor(self.lengths, device=self.device)
        return torch.arange(len(self.counts), device=self.device) < lengths[:, None]

    @cached_property
    def last(self) -> Tensor:
        """(B,) where each sequence's last token stands in the line, ``T`` for one without any."""
        starts = [0, *accumulate(self.counts)]
        pairs = zip(self.row, self.lengths, strict=True)
        return torch.tensor([starts[n - 1] + row if n else starts[-1] for row, n in pairs], device=self.device)
