"""Human ratings become scores: the majority vote, and inter-rater agreement (PLATO, section 4.2)."""

import math
from collections.abc import Sequence
from statistics import median_low, multimode

from menura.errors import DataError

LABELS = (0, 1, 2)  # of PLATO's four aspects


def majority(votes: Sequence[int]) -> int:
    """Return the vote cast most often; where there are several, the median of all votes, the lower of two."""
    if not votes:
        raise DataError("an item without votes", code="no_votes", hint="leave it out")
    most = multimode(votes)
    return most[0] if len(most) == 1 else median_low(votes)


def system_score(items: Sequence[Sequence[int]]) -> float:
    """Return the mean over items of the majority vote; ``nan`` without an item."""
    return math.fsum(majority(votes) for votes in items) / len(items) if items else math.nan


def counted(items: Sequence[Sequence[int]], labels: Sequence[int] = LABELS) -> list[list[int]]:
    """Return for each item how many raters gave it each label; DataError for a vote that is none of them."""
    strange = sorted({vote for votes in items for vote in votes} - set(labels))
    if strange:
        raise DataError(f"votes {strange} are none of {list(labels)}", code="unknown_label")
    return [[list(votes).count(label) for label in labels] for votes in items]


def fleiss_kappa(counts: Sequence[Sequence[int]]) -> float:
    """Return the agreement beyond chance of raters (Fleiss, 1971): 1 is full agreement, 0 what chance gives.

    ``counts`` has a row an item: how many raters gave it each label. Raises DataError where items have different
    numbers of raters, or fewer than two; ``nan`` without an item, or where all votes are one label.
    """
    raters = {sum(row) for row in counts}
    if len(raters) > 1 or min(raters, default=2) < 2:
        found = f"items have {sorted(raters)} votes: each must have the same number, 2 or more"
        raise DataError(found, code="uneven_votes", hint="leave out items that not everybody judged")
    if not counts:
        return math.nan
    votes = raters.pop()
    agreed = math.fsum((sum(n * n for n in row) - votes) / (votes * (votes - 1)) for row in counts) / len(counts)
    shares = [sum(column) / (votes * len(counts)) for column in zip(*counts, strict=True)]
    by_chance = math.fsum(share * share for share in shares)
    return (agreed - by_chance) / (1 - by_chance) if by_chance < 1 else math.nan
