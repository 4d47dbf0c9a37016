"""BLEU-1 to BLEU-4 of a whole corpus as the COCO caption tools count it: several references, hardly any smoothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menura.metrics.score import Sample, describe_references, summed
from menura.metrics.words import clipped, closest, grams_of, words_of

TINY, SMALL = 1e-15, 1e-9  # beside counts of matches and of n-grams, so that nothing is divided by zero

Order = Literal[1, 2, 3, 4]


@dataclass(frozen=True)
class CocoBleu:
    """BLEU up to ``order`` words, in 0..1; the reference of the nearest length sets the brevity penalty."""

    order: Order

    unit: str = "share"
    better: Literal["higher"] = "higher"

    @property
    def name(self) -> str:
        """``coco-bleu-1`` to ``coco-bleu-4``."""
        return f"coco-bleu-{self.order}"

    @property
    def signature(self) -> str:
        """Names words and smoothing."""
        return f"{self.name}|case:lc|tok:pieces|smooth:tiny|length:closest|corpus"

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Add how many references there were."""
        return f"{self.signature}|{describe_references(samples)}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, ...]:
        """Return the sufficient statistics: reply words, reference words, matches and n-grams of each order."""
        zeros = (0.0,) * (2 + 2 * self.order)
        return tuple(summed([zeros, *(statistics_of(s.reply, s.all_references, self.order) for s in samples)]))

    def value(self, gathered: Sequence[tuple[float, ...]]) -> float:
        """Return BLEU; ``nan`` without a reference."""
        totals = summed(gathered) if gathered else [0.0, 0.0]
        return bleu_of(totals)[-1] if totals[1] else math.nan


def statistics_of(reply: str, references: Sequence[str], orders: int) -> tuple[float, ...]:
    """Return what BLEU up to ``orders`` words is computed from; sums of it are those of a corpus."""
    said, known = words_of(reply), [words_of(reference) for reference in references]
    length = closest(len(said), [len(words) for words in known])
    sizes = range(1, orders + 1)
    matches = [clipped(grams_of(said, size), [grams_of(words, size) for words in known]) for size in sizes]
    return tuple(map(float, (len(said), length, *matches, *(max(0, len(said) - size + 1) for size in sizes))))


def bleu_of(statistics: Sequence[float]) -> list[float]:
    """Return BLEU of each order, up to the highest there are statistics of."""
    reply_words, reference_words, *counts = statistics
    orders = len(counts) // 2
    ratio = (reply_words + TINY) / (reference_words + SMALL)
    penalty = math.exp(min(0.0, 1 - 1 / ratio))
    product, found = 1.0, []
    for order in range(orders):
        product *= (counts[order] + TINY) / (counts[orders + order] + SMALL)
        found.append(penalty * product ** (1 / (order + 1)))
    return found
