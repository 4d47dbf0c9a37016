"""Time-major sequences: all first tokens, then all second ones, the longest row first (as in PackedSequence).

``packed`` ids have no padding, and each step has fewer rows; ``padded`` ones are for a single call.

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
    """B sequences in R rows, longest first; a sequence that is a prefix of another shares its row."""

    rows: tuple[Ids, ...]
    row: tuple[int, ...]  # of each sequence
    lengths: tuple[int, ...]  # of each sequence
    device: torch.device

    @classmethod
    def of(cls, sequences: Sequence[Ids], device: torch.device, *, shared: bool) -> "TimeMajor":
        """Arrange sequences; with ``shared`` prefixes of other sequences share their row."""
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
    def batch_sizes(self) -> tuple[int, ...]:
        """The number of rows with a token at each time."""
        longest = len(self.rows[0]) if self.rows else 0
        return tuple(sum(len(row) > time for row in self.rows) for time in range(longest))

    @cached_property
    def packed(self) -> Tensor:
        """(T,) ids, time-major."""
        ids = [row[time] for time, count in enumerate(self.batch_sizes) for row in self.rows[:count]]
        return torch.tensor(ids, dtype=torch.long, device=self.device)

    @cached_property
    def packed_row(self) -> Tensor:
        """(T,) the row of each packed token."""
        rows = list(chain.from_iterable(range(count) for count in self.batch_sizes))
        return torch.tensor(rows, dtype=torch.long, device=self.device)

    @cached_property
    def padded(self) -> Tensor:
        """(S, R) ids, padded at the ends of rows."""
        return pad(self.rows)[0].T.to(self.device)

    @cached_property
    def last(self) -> Tensor:
        """(B,) the index of each sequence's last token in the flattened ``padded``, ``S R`` for an empty one."""
        rows, nothing = len(self.rows), len(self.batch_sizes) * len(self.rows)
        pairs = zip(self.row, self.lengths, strict=True)
        ends = [(length - 1) * rows + row if length else nothing for row, length in pairs]
        return torch.tensor(ends, dtype=torch.long, device=self.device)

    @cached_property
    def own(self) -> Tensor:
        """(B, S R + 1) True at a sequence's places in ``padded``, flattened; an empty one has the last, extra place."""
        row, length = (torch.tensor(values, device=self.device)[:, None, None] for values in (self.row, self.lengths))
        time = torch.arange(len(self.batch_sizes), device=self.device)[:, None]
        there = (torch.arange(len(self.rows), device=self.device) == row) & (time < length)
        return torch.cat([there.flatten(1), length[:, 0] == 0], 1)
