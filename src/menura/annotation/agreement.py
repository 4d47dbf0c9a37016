"""Votes become an item's score, and the agreement of raters beyond chance.

``counts`` has a row an item and a column a label: how many raters gave it that label. ``weights`` says how often each
item stands in a resample; None: once. Shape letters: I items, C labels.
"""

import math
from collections.abc import Sequence
from statistics import median_low, multimode
from typing import Any

import numpy
from numpy.typing import ArrayLike, NDArray

from menura.errors import DataError

LABELS = (0, 1, 2)  # of PLATO's four aspects

Floats = NDArray[numpy.float64]


def majority(votes: Sequence[int]) -> int:
    """Return the vote cast most often; where there are several, the median of all votes, the lower of two."""
    if not votes:
        raise DataError("an item without votes", code="no_votes", hint="leave it out")
    most = multimode(votes)
    return most[0] if len(most) == 1 else median_low(votes)


def system_score(items: Sequence[Sequence[int]]) -> float:
    """Return the mean over items of the majority vote; ``nan`` without an item."""
    return math.fsum(majority(votes) for votes in items) / len(items) if items else math.nan


def counted(items: Sequence[Sequence[Any]], labels: Sequence[Any] = LABELS) -> list[list[int]]:
    """Return for each item how many raters gave it each label; DataError for a vote that is none of them."""
    strange = sorted({vote for votes in items for vote in votes} - set(labels))
    if strange:
        raise DataError(f"votes {strange} are none of {list(labels)}", code="unknown_label")
    return [[list(votes).count(label) for label in labels] for votes in items]


def fleiss_kappa(counts: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the agreement beyond chance of raters (Fleiss, 1971): 1 is full agreement, 0 what chance gives.

    Raises DataError where items have different numbers of raters, or fewer than two; ``nan`` without an item, or where
    all votes are one label.
    """
    table, weight = _table(counts, weights)
    raters = {int(votes) for votes in table.sum(axis=1)}
    if len(raters) > 1 or min(raters, default=2) < 2:
        found = f"items have {sorted(raters)} votes: each must have the same number, 2 or more"
        raise DataError(found, code="uneven_votes", hint="leave out items that not everybody judged")
    if not weight.sum():
        return math.nan
    shares = weight @ table / (weight.sum() * raters.pop())
    return _beyond_chance(_agreed(table, weight), float((shares**2).sum()))


def gwet_ac1(counts: ArrayLike, weights: ArrayLike | None = None) -> float:
    """Return the agreement beyond chance that stays high where one label is rare (AC1; Gwet, 2008).

    Items may have different numbers of votes; those with one vote count for how often a label is given. ``nan`` where
    no item has two votes.
    """
    table, weight = _table(counts, weights)
    votes = table.sum(axis=1)
    there = votes > 0
    weight, table, votes = weight[there], table[there], votes[there]
    if not (weight * (votes > 1)).sum():
        return math.nan
    shares = weight @ (table / votes[:, None]) / weight.sum()  # (C,)
    by_chance = float((shares * (1 - shares)).sum()) / (table.shape[1] - 1)
    return _beyond_chance(_agreed(table, weight), by_chance)


def krippendorff_alpha(counts: ArrayLike, weights: ArrayLike | None = None, *, ordinal: bool) -> float:
    """Return Krippendorff's alpha: 1 without disagreement, 0 where it is what chance gives.

    ``ordinal``: the labels stand in order, and two that are far apart disagree more. Items may have different numbers
    of votes; those with one are left out. ``nan`` where no two votes can differ.
    """
    table, weight = _table(counts, weights)
    paired = table.sum(axis=1) > 1
    table, weight = table[paired], weight[paired]
    if not weight.sum():
        return math.nan
    each = table[:, :, None] * table[:, None, :]  # pairs of votes of an item, (I, C, C)
    each -= table[:, :, None] * numpy.eye(table.shape[1])  # not of a vote with itself
    coincidences = numpy.tensordot(weight / (table.sum(axis=1) - 1), each, axes=1)  # (C, C)
    totals = coincidences.sum(axis=1)
    distance = _ordinal_distance(totals) if ordinal else 1 - numpy.eye(len(totals))
    expected = float((numpy.outer(totals, totals) * distance).sum())
    observed = float((coincidences * distance).sum())
    return 1 - (totals.sum() - 1) * observed / expected if expected else math.nan


def _table(counts: ArrayLike, weights: ArrayLike | None) -> tuple[Floats, Floats]:
    table = numpy.asarray(counts, dtype=numpy.float64)
    table = table if table.ndim == 2 else table.reshape(0, 2)
    return table, numpy.ones(len(table)) if weights is None else numpy.asarray(weights, dtype=numpy.float64)


def _agreed(table: Floats, weight: Floats) -> float:
    """Return the share of agreeing pairs of raters, mean over the items with two votes or more."""
    votes = table.sum(axis=1)
    paired = votes > 1
    table, weight, votes = table[paired], weight[paired], votes[paired]
    pairs = (table * (table - 1)).sum(axis=1) / (votes * (votes - 1))
    return float(weight @ pairs / weight.sum())


def _beyond_chance(agreed: float, by_chance: float) -> float:
    # By rounding, 1 - 1 may be a little more than nothing.
    return (agreed - by_chance) / (1 - by_chance) if 1 - by_chance > 1e-12 else math.nan


def _ordinal_distance(totals: Floats) -> Floats:
    """Return the squared distance of each two labels: how many votes lie between them, half of their own counted."""
    before = numpy.cumsum(totals) - totals / 2
    distance: Floats = (before[:, None] - before[None, :]) ** 2
    return distance
