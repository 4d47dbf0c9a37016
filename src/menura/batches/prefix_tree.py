"""Sequences that begin alike become one row: the longest as trunk, then of each other what it does not share.

A branch has read the beginning of its trunk and nothing of the other branches, so many replies to one context cost
that context once, and the replies to all contexts of a dialogue cost the dialogue once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from menura.batches.collate import Ids, Labels

SHARED = 16  # tokens; with fewer in common, two sequences are two rows
ROW_TOKENS = 2048  # every token of a row is compared with every other, so rows stay bounded


@dataclass(frozen=True)
class Branch:
    """Tokens behind a trunk that go on after its first ``after`` ones."""

    after: int
    length: int


@dataclass
class PrefixTree:
    """A row in the making."""

    trunk: Ids
    ids: list[int]
    branches: list[Branch] = field(default_factory=list)

    def take(self, sequence: Ids, shared: int) -> range:
        """Hang a sequence on, whose first ``shared`` tokens are the trunk's; return the places of the others."""
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
    """Return the row to hang a sequence on and how much they share: all of it, in a row that is still to be made."""
    shared = [_shared(tree.trunk, sequence) for tree in trees]
    fitting = (row for row, tree in enumerate(trees) if len(tree.ids) + len(sequence) - shared[row] <= ROW_TOKENS)
    best = max(fitting, key=shared.__getitem__, default=None)
    if best is None or shared[best] < min(SHARED, len(sequence)):
        return len(trees), len(sequence)
    return best, shared[best]


def _shared(one: Ids, other: Ids) -> int:
    """Return how many tokens two sequences begin with alike."""
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)
