"""BLEU-4 of a whole corpus, counted by sacrebleu, from statistics that add up over personas."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sacrebleu.metrics.bleu import BLEU

from menura.metrics.score import Aggregation, Sample, by_dialogue, summed

ORDERS = 4  # n-grams of 1 to 4 words: BLEU-4


@dataclass(frozen=True)
class Bleu:
    """Corpus BLEU-4 in per cent, case-insensitive, one reference.

    ``tokenize`` "none" with ``smooth`` "none" counts as ``multi-bleu.perl -lc`` does on space-tokenised text.
    "char" is for text without blanks.

    ``paml`` is the mean over dialogues, each a corpus of its own, as PAML printed it.
    """

    name: str
    tokenize: Literal["13a", "none", "char"]
    smooth: Literal["exp", "none"]
    aggregation: Aggregation = "pooled"

    unit: str = "%"
    better: Literal["higher"] = "higher"

    @property
    def signature(self) -> str:
        """Is sacrebleu's own, with the aggregation."""
        scorer = self._scorer()
        scorer.corpus_score(["word"], [["word"]])  # sacrebleu learns the number of references by scoring
        return f"{self.name}|{scorer.get_signature()}|aggregation:{self.aggregation}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, ...]:
        """Return (reply words, reference words, 4 counts of matches, 4 of n-grams), under ``paml`` (sum, dialogues)."""
        if self.aggregation == "pooled":
            return self._statistics(samples)
        folds = [self._statistics(fold) for fold in by_dialogue(samples).values()]
        return math.fsum(self._bleu(fold) for fold in folds), float(len(folds))

    def value(self, gathered: Sequence[tuple[float, ...]]) -> float:
        """Return BLEU in 0..100; 0 where every reply is empty, ``nan`` without a persona."""
        if not gathered:
            return math.nan
        totals = summed(gathered)
        if self.aggregation == "pooled":
            return self._bleu(totals)
        return totals[0] / totals[1] if totals[1] else math.nan

    def _statistics(self, samples: Sequence[Sample]) -> tuple[float, ...]:
        if not samples:
            return (0.0,) * (2 + 2 * ORDERS)
        found = self._scorer().corpus_score([s.reply for s in samples], [[s.reference for s in samples]])
        return tuple(map(float, (found.sys_len, found.ref_len, *found.counts, *found.totals)))

    def _bleu(self, statistics: Sequence[float]) -> float:
        reply_words, reference_words, *counts = map(int, statistics)
        found = BLEU.compute_bleu(
            counts[:ORDERS], counts[ORDERS:], reply_words, reference_words, smooth_method=self.smooth
        )
        return float(min(found.score, 100.0))  # 100 comes out as 100.00000000000004

    def _scorer(self) -> BLEU:
        # Without force sacrebleu warns of text that looks tokenised; multi-bleu is meant for just that.
        return BLEU(lowercase=True, force=True, tokenize=self.tokenize, smooth_method=self.smooth)
