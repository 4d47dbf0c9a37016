"""Knowledge recall, precision and F1: word overlap of a reply with the persona's facts (PLATO, section 4.2)."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from menura.corpus.stop_words import STOP_WORDS, hash_of
from menura.metrics.score import Sample, summed
from menura.metrics.words import words_of

DialogueView = Literal["recall", "precision", "f1"]


def overlap(reply: str, facts: Sequence[str], stop: Collection[str] = STOP_WORDS) -> dict[DialogueView, float]:
    """Return recall, precision and F1 of the different words of all facts together, in 0..1; 0 where none is shared."""
    said = {word for word in words_of(reply) if word not in stop}
    known = {word for fact in facts for word in words_of(fact) if word not in stop}
    shared = len(said & known)
    if not shared:
        return {"recall": 0.0, "precision": 0.0, "f1": 0.0}
    recall, precision = shared / len(known), shared / len(said)
    return {"recall": recall, "precision": precision, "f1": 2 * precision * recall / (precision + recall)}


@dataclass(frozen=True)
class Knowledge:
    """The mean over replies of one part of ``overlap``; replies whose dialogue has no facts are left out."""

    part: DialogueView

    unit: str = "share"
    better: Literal["higher"] = "higher"

    @property
    def name(self) -> str:
        """``knowledge-recall``, ``knowledge-precision``, ``knowledge-f1``."""
        return f"knowledge-{self.part}"

    @property
    def signature(self) -> str:
        """Names words and the list of those left out."""
        return f"{self.name}|case:lc|tok:pieces|sets|stop:{hash_of(STOP_WORDS)}|mean:replies"

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Add how many replies had facts."""
        return f"{self.signature}|replies:{sum(bool(sample.facts) for sample in samples)}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return (sum over replies, replies)."""
        found = [overlap(sample.reply, sample.facts)[self.part] for sample in samples if sample.facts]
        return math.fsum(found), float(len(found))

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the mean; ``nan`` where no reply had facts."""
        total, replies = summed(gathered) if gathered else (0.0, 0.0)
        return total / replies if replies else math.nan
