"""How often a reply holds the answer: what the person said of themselves, asked for again."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menura.metrics.score import Sample

WORD = re.compile(r"[^\W_]+")
LEAST = 3  # letters of a word that tells something; numbers tell something, too
# Of an answer's longer words those that would be in a reply by chance.
COMMON = frozenset(
    WORD.findall(
        "about also and any are been but can did does for from get got had has have her here him his how its just like "
        "live lot lots love made make more most much name not now one our out own play really she some that the them "
        "there they thing things this two very was well were what when where which who will with work would you your"
    )
)


@dataclass(frozen=True)
class RecalledFacts:
    """The share of replies with a telling word of the answer (the reference) that the question lacks: mean by persona.

    A telling word has at least three letters and is none of the commonest, or is a number.
    """

    name: str = "recalled-facts"
    unit: str = "%"
    better: Literal["higher"] = "higher"

    @property
    def signature(self) -> str:
        """Names what counts as recalled and what is averaged."""
        return f"{self.name}|case:lc|a telling word of the answer, none of the question's|mean:personas"

    def gather(self, samples: Sequence[Sample]) -> tuple[int, int]:
        """Return how many replies hold the answer, and how many answers there are."""
        told = [(_telling(sample), sample.reply) for sample in samples]
        return sum(holds(reply, answer) for answer, reply in told), sum(bool(answer) for answer, _ in told)

    def value(self, gathered: Sequence[tuple[int, int]]) -> float:
        """Return the mean share in per cent; ``nan`` without an answer."""
        shares = [recalled / answers for recalled, answers in gathered if answers]
        return 100 * math.fsum(shares) / len(shares) if shares else math.nan


def telling_words(question: str, answer: str) -> set[str]:
    """Return the words of an answer by which it is known in a reply: none of the question's, none of the commonest."""
    asked, words = (WORD.findall(text.lower()) for text in (question, answer))
    return {word for word in words if (len(word) >= LEAST or word.isdigit()) and word not in COMMON} - set(asked)


def holds(reply: str, words: set[str]) -> bool:
    """Return whether a reply has one of these words."""
    return not words.isdisjoint(WORD.findall(reply.lower()))


def _telling(sample: Sample) -> set[str]:
    return telling_words(next((text for _, text in (sample.context or ())[-1:]), ""), sample.reference)
