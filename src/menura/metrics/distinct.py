"""Dist-n: the share of all generated n-grams that are different ones (Li et al., 2016)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy
from numpy.typing import NDArray

from menura.metrics.score import Sample

Gathered = tuple[frozenset[tuple[str, ...]], int]  # the persona's different n-grams, and how many n-grams in all


@dataclass(frozen=True)
class Distinct:
    """Different n-grams / all n-grams over every reply of a system together, in 0..1.

    It falls as a system says more, so it compares systems that answered the same number of turns.
    """

    length: int  # words in an n-gram
    unit: str = "share"
    better: Literal["higher"] = "higher"

    @property
    def name(self) -> str:
        """``dist-1``, ``dist-2``, …"""
        return f"dist-{self.length}"

    @property
    def signature(self) -> str:
        """Names how words are cut and what is pooled."""
        return f"{self.name}|case:lc|tok:space|pooled:replies"

    def gather(self, samples: Sequence[Sample]) -> Gathered:
        """Return the different n-grams and the number of all; an n-gram never crosses from reply to reply."""
        grams = [gram for sample in samples for gram in self._grams(sample.reply)]
        return frozenset(grams), len(grams)

    def value(self, gathered: Sequence[Gathered]) -> float:
        """Return the share; 0 for replies too short to hold an n-gram, ``nan`` without a persona."""
        if not gathered:
            return math.nan
        total = sum(count for _, count in gathered)
        different: frozenset[tuple[str, ...]] = frozenset().union(*(grams for grams, _ in gathered))
        return len(different) / total if total else 0.0

    def recentred(self, figures: NDArray[Any], value: float) -> NDArray[Any]:
        """Move the figures of resampled personas so that their median lies on ``value``.

        A persona drawn twice adds words but no new ones: every resample is too low, though its spread is right.
        """
        moved: NDArray[Any] = numpy.clip(figures + (value - numpy.median(figures)), 0.0, 1.0)
        return moved

    def _grams(self, reply: str) -> Iterator[tuple[str, ...]]:
        words = reply.lower().split()
        return zip(*(words[start:] for start in range(self.length)), strict=False)  # the tails differ in length
