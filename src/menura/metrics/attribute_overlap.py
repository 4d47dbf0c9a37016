"""How often a reply contains a piece of the persona's facts, in any language."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menura.corpus.segmentation import LEAST_CHARACTERS, LEAST_LETTERS, content_pieces, says_any
from menura.corpus.stop_words import STOP_WORDS, hash_of
from menura.metrics.score import Sample, summed


def says_a_fact(reply: str, facts: Sequence[str]) -> bool:
    """Return whether a reply contains a content piece of any fact (see ``menura.corpus.segmentation``)."""
    return says_any(reply, {piece for fact in facts for piece in content_pieces(fact)})


@dataclass(frozen=True)
class AttributeOverlap:
    """The share of replies that contain a piece of a fact; replies without facts are left out.

    It finds words, not meaning: what denies a fact says it too, and a word of the fact's key counts like its value.
    """

    name: str = "attribute-overlap"
    unit: str = "share"
    better: Literal["higher"] = "higher"

    @property
    def signature(self) -> str:
        """Names what counts as a piece."""
        least = f"letters:{LEAST_LETTERS}|characters:{LEAST_CHARACTERS}"
        return f"{self.name}|case:lc|tok:scripts|{least}|stop:{hash_of(STOP_WORDS)}|mean:replies"

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Add how many replies had facts."""
        return f"{self.signature}|replies:{sum(bool(sample.facts) for sample in samples)}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return (replies that contain a fact, replies)."""
        told = [says_a_fact(sample.reply, sample.facts) for sample in samples if sample.facts]
        return float(sum(told)), float(len(told))

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the share; ``nan`` where no reply had facts."""
        told, replies = summed(gathered) if gathered else (0.0, 0.0)
        return told / replies if replies else float("nan")
