"""Candidates become the one nearest to the references: an oracle choice (PLATO's upper bound)."""

import math
from collections.abc import Sequence

from menura.metrics import coco, meteor
from menura.metrics.rouge import rouge_l

ORDERS = 4


def auto_score(candidate: str, references: Sequence[str]) -> float:
    """Return BLEU-1 to BLEU-4, METEOR's score of equal words and stems, and ROUGE-L of one candidate, summed.

    CIDEr is not in it: of one reply alone it is always 0.
    """
    bleus = coco.bleu_of(coco.statistics_of(candidate, references, ORDERS))
    likeness = meteor.score_of(meteor.statistics_of(candidate, references))
    return math.fsum((*bleus, likeness, rouge_l(candidate, references)))


def best_of(candidates: Sequence[str], references: Sequence[str]) -> int:
    """Return the index of the candidate with the highest ``auto_score``, the first of equal ones."""
    scores = [auto_score(candidate, references) for candidate in candidates]
    return scores.index(max(scores))
