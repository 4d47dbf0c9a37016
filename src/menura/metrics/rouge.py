"""ROUGE-L as the COCO caption tools count it: the longest common subsequence of words (Lin, 2004)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menura.metrics.score import Sample, describe_references, summed
from menura.metrics.words import words_of

BETA = 1.2  # how much recall counts beside precision


def common_length(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many words the longest common subsequence has."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = row[:]
        for place, theirs in enumerate(other):
            row[place + 1] = before[place] + 1 if word == theirs else max(before[place + 1], row[place])
    return row[-1]


def rouge_l(reply: str, references: Sequence[str], beta: float = BETA) -> float:
    """Return the F measure of the largest precision and the largest recall, which may be of two references."""
    said, known = words_of(reply), [words_of(reference) for reference in references]
    common = [common_length(said, words) for words in known]
    if not any(common):
        return 0.0
    precision = max(common) / len(said)
    recall = max(length / len(words) for length, words in zip(common, known, strict=True) if words)
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


@dataclass(frozen=True)
class RougeL:
    """The mean over replies of ``rouge_l``, in 0..1."""

    name: str = "rouge-l"
    unit: str = "share"
    better: Literal["higher"] = "higher"

    @property
    def signature(self) -> str:
        """Names words and weights."""
        return f"{self.name}|case:lc|tok:pieces|beta:{BETA}|best of references|mean:replies"

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Add how many references there were."""
        return f"{self.signature}|{describe_references(samples)}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return (sum of ROUGE-L, replies)."""
        return math.fsum(rouge_l(s.reply, s.all_references) for s in samples), float(len(samples))

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the mean; ``nan`` without a reply."""
        total, replies = summed(gathered) if gathered else (0.0, 0.0)
        return total / replies if replies else math.nan
