"""Sequences with a common prefix become one row: the longest as trunk, then the rest of each other one.

A branch attends to the beginning of its trunk and not to other branches, so many replies to one context cost that
context once, and the replies to all contexts of a dialogue cost the dialogue once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from menura.batches.collate import Ids, Labels

SHARED = 16  # tokens; sequences with fewer in common are separate rows
ROW_TOKENS = 2048  # attention is quadratic in a row's length, so rows are bounded


@dataclass(frozen=True)
class Branch:
    """A continuation, of ``length`` tokens, of a trunk's first ``after`` tokens."""

    after: int
    length: int


@dataclass
class PrefixTree:
    """A row under construction."""

    trunk: Ids
    ids: list[int]
    branches: list[Branch] = field(default_factory=list)

    def take(self, sequence: Ids, shared: int) -> range:
        """Add a sequence whose first ``shared`` tokens are the trunk's; return the positions of its other tokens."""
        start = len(self.ids)
        if shared < len(sequence):
            self.ids += sequence[shared:]
            self.branches.append(Branch(shared, len(sequence) - shared))
        return range(start, len(self.ids))


def prefix_trees(exchanges: Sequence[tuple[Ids, Ids]]) -> tuple[list[Ids], list[tuple[Branch, ...]], Labels]:
    """Return rows, the branches of each, and the labels of each (prefix, reply)."""
    trees: list[PrefixTree] = []
    entries: list[tuple[int, int, int, int, int]] = []
    order = sorted(range(len(exchanges)), key=lambda i: -len(exchanges[i][0]) - len(exchanges[i][1]))
    for index in order:
        prefix, reply = exchanges[index]
        sequence = prefix + reply
        row, shared = _nearest(trees, sequence)
        if row == len(trees):
            trees.append(PrefixTree(sequence, list(sequence)))
        places = (*range(shared), *trees[row].take(sequence, shared))
        entries += [
            (row, places[at], places[at - 1], token, index) for at, token in enumerate(reply, start=len(prefix))
        ]
    columns = torch.tensor(entries, dtype=torch.long).reshape(-1, 5).unbind(1)
    return [tuple(tree.ids) for tree in trees], [tuple(tree.branches) for tree in trees], Labels(*columns)


def _nearest(trees: Sequence[PrefixTree], sequence: Ids) -> tuple[int, int]:
    """Return the best row for a sequence and the length of their common prefix; a new row if none fits."""
    shared = [_shared(tree.trunk, sequence) for tree in trees]
    fitting = (row for row, tree in enumerate(trees) if len(tree.ids) + len(sequence) - shared[row] <= ROW_TOKENS)
    best = max(fitting, key=shared.__getitem__, default=None)
    if best is None or shared[best] < min(SHARED, len(sequence)):
        return len(trees), len(sequence)
    return best, shared[best]


def _shared(one: Ids, other: Ids) -> int:
    """Return the length of the common prefix of two sequences."""
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)
