"""Ranking: does the model rank the persona's reply above replies of others?"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from menura.errors import ConfigError, DataError
from menura.metrics.score import Sample, summed


def rank_of(scores: Sequence[float], gold: int) -> int:
    """Return the rank of ``scores[gold]``, 0 for the best; a lower score (NLL) is better.

    Ties count against the gold, and so does a score that is not a number: a constant scorer must not look right.
    """
    own = scores[gold]
    return sum(not own < other for index, other in enumerate(scores) if index != gold)


def draw_candidates(reference: str, pool: Sequence[str], count: int, rng: random.Random) -> tuple[list[str], int]:
    """Return ``count`` different replies, the reference among them at a random index, and that index.

    Distractors come from ``pool`` without replacement; replies that differ in case or outer space only are the same.
    Raises DataError where the pool holds fewer than ``count - 1`` others.
    """
    if count < 2:
        raise ConfigError(f"candidates: {count} must be >= 2: the reference and at least one other reply")
    seen = {_key(reference), ""}  # a blank reply is no distractor
    distractors: list[str] = []
    for reply in _in_random_order(pool, rng):
        if len(distractors) == count - 1:
            break
        if _key(reply) not in seen:
            seen.add(_key(reply))
            distractors.append(reply)
    if len(distractors) < count - 1:
        raise DataError(
            f"the pool has {len(distractors)} different replies beside the reference, {count - 1} wanted",
            hint="ask for fewer candidates or give more dialogues",
        )
    gold = rng.randrange(count)
    return [*distractors[:gold], reference, *distractors[gold:]], gold


def _key(reply: str) -> str:
    return reply.strip().casefold()


def _in_random_order(pool: Sequence[str], rng: random.Random) -> Iterator[str]:
    # A shuffle that costs only as much as is taken: pools hold every reply of a corpus, a question takes 19.
    moved: dict[int, int] = {}
    for last in range(len(pool) - 1, -1, -1):
        drawn = rng.randrange(last + 1)
        yield pool[moved.get(drawn, drawn)]
        moved[drawn] = moved.get(last, last)


@dataclass(frozen=True)
class _Ranking:
    """What both ranking metrics share: samples without a rank are left out, candidates belong to the signature."""

    name: str
    unit: str
    better: Literal["higher"] = "higher"

    @property
    def signature(self) -> str:
        """Names how ties are broken."""
        return f"{self.name}|ties:against"

    def _rank(self, sample: Sample) -> int | None:
        """Return the rank that counts."""
        return sample.rank

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Add how many candidates there were and how many samples were ranked."""
        ranked = [sample for sample in samples if self._rank(sample) is not None]
        counts = sorted({sample.candidates for sample in ranked})
        shown = "none" if not counts else str(counts[0]) if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"
        return f"{self.signature}|candidates:{shown}|ranked:{len(ranked)}"


@dataclass(frozen=True)
class HitsAtOne(_Ranking):
    """The share of samples whose reference came first, in per cent; 100 / candidates is chance."""

    name: str = "hits@1"
    unit: str = "%"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return (first places, ranked samples)."""
        ranks = [self._rank(sample) for sample in samples if self._rank(sample) is not None]
        return float(ranks.count(0)), float(len(ranks))

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the per cent of first places; ``nan`` where no sample has a rank."""
        return 100 * _mean(gathered)


@dataclass(frozen=True)
class LikelihoodHitsAtOne(HitsAtOne):
    """The same by likelihood, for a model that chooses by a head of its own."""

    name: str = "hits@1-likelihood"

    def _rank(self, sample: Sample) -> int | None:
        return sample.likelihood_rank


@dataclass(frozen=True)
class MeanReciprocalRank(_Ranking):
    """The mean of 1 / (place counted from 1), in 0..1."""

    name: str = "mrr"
    unit: str = "share"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return (sum of reciprocal places, ranked samples)."""
        ranks = [sample.rank for sample in samples if sample.rank is not None]
        return math.fsum(1 / (rank + 1) for rank in ranks), float(len(ranks))

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the mean; ``nan`` where no sample has a rank."""
        return _mean(gathered)


def _mean(gathered: Sequence[tuple[float, float]]) -> float:
    total, ranked = summed(gathered) if gathered else (0.0, 0.0)
    return total / ranked if ranked else math.nan
