"""Dist-n: the share of generated n-grams that are different ones, of all replies or of each (Li et al., 2016)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy
from numpy.typing import NDArray

from menura.metrics.score import Sample, summed

Gathered = tuple[frozenset[tuple[str, ...]], int]  # the persona's different n-grams, and how many units in all
Unit = Literal["n-grams", "words"]
Cut = Literal["space", "char"]  # what a reply falls into: words, or characters but for blanks


@dataclass(frozen=True)
class Distinct:
    """Different n-grams / all n-grams over every reply of a system together, in 0..1.

    It falls as a system says more, so it compares systems that answered the same number of turns. ``per`` words divides
    by them, as PLATO's text says. ``cut`` char counts characters, for text without blanks.
    """

    length: int  # words, or characters, in an n-gram
    per: Unit = "n-grams"
    cut: Cut = "space"
    unit: str = "share"
    better: Literal["higher"] = "higher"

    @property
    def name(self) -> str:
        """``dist-1``, ``dist-2``, …, ``dist-2-words``, ``dist-1-char``."""
        return f"dist-{self.length}" + "-words" * (self.per == "words") + "-char" * (self.cut == "char")

    @property
    def signature(self) -> str:
        """Names how words are cut and what is pooled."""
        return f"{self.name}|case:lc|tok:{self.cut}|pooled:replies"

    def gather(self, samples: Sequence[Sample]) -> Gathered:
        """Return the different n-grams and the number of all; an n-gram never crosses from reply to reply."""
        replies = [_cut(sample.reply, self.cut) for sample in samples]
        grams = [gram for reply in replies for gram in _grams(reply, self.length)]
        return frozenset(grams), sum(map(len, replies)) if self.per == "words" else len(grams)

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


@dataclass(frozen=True)
class DistinctWithin:
    """Different n-grams / all n-grams of each reply, its mean over replies; one too short for any counts 0.

    It tells of repetition inside a reply, nothing of whether all replies are alike.
    """

    length: int
    unit: str = "share"
    better: Literal["higher"] = "higher"

    @property
    def name(self) -> str:
        """``dist-1-intra``, ``dist-2-intra``."""
        return f"dist-{self.length}-intra"

    @property
    def signature(self) -> str:
        """Names how words are cut and what is averaged."""
        return f"{self.name}|case:lc|tok:space|mean:replies"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return (sum of shares, replies)."""
        found = [list(_grams(_cut(sample.reply, "space"), self.length)) for sample in samples]
        return math.fsum(len(set(grams)) / len(grams) for grams in found if grams), float(len(found))

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the mean; ``nan`` without a reply."""
        total, replies = summed(gathered) if gathered else (0.0, 0.0)
        return total / replies if replies else math.nan


def _cut(reply: str, cut: Cut) -> list[str]:
    words = reply.lower().split()
    return words if cut == "space" else list("".join(words))


def _grams(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[start:] for start in range(length)), strict=False)  # the tails differ in length
