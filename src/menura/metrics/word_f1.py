"""Word F1: how many words a reply shares with its reference, as ParlAI counts them; the same of characters."""

import math
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menura.metrics.score import Sample, summed

Unit = Literal["word", "char"]

_TO_SPACE = str.maketrans(dict.fromkeys(string.punctuation, " "))
_ARTICLES = frozenset({"a", "an", "the"})


def normalised(text: str) -> list[str]:
    """Return the words that count: lower-cased, ASCII punctuation made spaces, articles dropped."""
    return [word for word in text.lower().translate(_TO_SPACE).split() if word not in _ARTICLES]


def word_f1(reply: str, reference: str) -> float:
    """Return the harmonic mean of word precision and recall, in 0..1; 0 where nothing is shared."""
    return _f1(Counter(normalised(reply)), Counter(normalised(reference)))


def character_f1(reply: str, reference: str) -> float:
    """Return the same of characters, in lower case; blanks and signs do not count."""
    return _f1(*(Counter(sign for sign in text.lower() if sign.isalnum()) for text in (reply, reference)))


def _f1(ours: Counter[str], theirs: Counter[str]) -> float:
    shared = (ours & theirs).total()
    if not shared:
        return 0.0
    precision, recall = shared / ours.total(), shared / theirs.total()
    return 2 * precision * recall / (precision + recall)


@dataclass(frozen=True)
class WordF1:
    """The mean over replies of ``word_f1``, in per cent; ``per`` char of ``character_f1``, for text without blanks."""

    per: Unit = "word"
    unit: str = "%"
    better: Literal["higher"] = "higher"

    @property
    def name(self) -> str:
        """``f1``, or ``f1-char``."""
        return "f1" if self.per == "word" else "f1-char"

    @property
    def signature(self) -> str:
        """Names the normaliser."""
        cut = "punctuation:space|articles:dropped" if self.per == "word" else "tok:char|signs:dropped"
        return f"{self.name}|case:lc|{cut}|refs:1|mean:replies"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return (sum of F1, replies)."""
        shared = word_f1 if self.per == "word" else character_f1
        return math.fsum(shared(s.reply, s.reference) for s in samples), float(len(samples))

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the mean F1 in per cent; ``nan`` without a reply."""
        total, replies = summed(gathered) if gathered else (0.0, 0.0)
        return 100 * total / replies if replies else math.nan
