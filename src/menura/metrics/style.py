"""Does a persona write as the person does? Length, capitals, punctuation, emoji and words, against held-out turns."""

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from menura.metrics.score import Sample

Feature = Literal["length", "capitals", "punctuation", "emoji"]
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
PICTURES = re.compile("[\N{SPARKLES}\u2600-\u27bf\U0001f000-\U0001faff]")


def _letters(text: str) -> tuple[int, int]:
    return sum(map(str.isupper, text)), sum(map(str.isalpha, text))


def _punctuation(text: str) -> tuple[int, int]:
    return sum(unicodedata.category(character).startswith("P") for character in text), len(text)


# Of a text: how much of something there is, and in how much of what.
MEASURED: Mapping[Feature, Callable[[str], tuple[int, int]]] = {
    "length": lambda text: (len(WORD.findall(text)), 1),
    "capitals": _letters,
    "punctuation": _punctuation,
    "emoji": lambda text: (len(PICTURES.findall(text)), 1),
}
UNITS: Mapping[Feature, str] = {
    "length": "words a reply",
    "capitals": "% of letters",
    "punctuation": "% of characters",
    "emoji": "emoji a reply",
}
Counts = tuple[int, int, int, int]  # of the generated replies: how much, in how much; the same of the references


@dataclass(frozen=True)
class StyleDistance:
    """How far a persona's replies are from the person's held-out turns in one feature: the mean over personas.

    A persona's replies are taken together, as are the person's turns, and the two figures' absolute difference counts.
    """

    feature: Feature
    better: Literal["lower"] = "lower"

    @property
    def name(self) -> str:
        """``style-length``, ``style-capitals``, …"""
        return f"style-{self.feature}"

    @property
    def unit(self) -> str:
        """The unit of the feature."""
        return UNITS[self.feature]

    @property
    def signature(self) -> str:
        """Names what is averaged."""
        return f"{self.name}|of:all replies|against:held-out turns|mean:personas"

    def gather(self, samples: Sequence[Sample]) -> Counts:
        """Return the counts of one persona's replies and references."""
        of_replies = [MEASURED[self.feature](sample.reply) for sample in samples]
        of_turns = [MEASURED[self.feature](sample.reference) for sample in samples]
        (much, within), (much_there, within_there) = (
            (sum(a for a, _ in counts), sum(b for _, b in counts)) for counts in (of_replies, of_turns)
        )
        return much, within, much_there, within_there

    def value(self, gathered: Sequence[Counts]) -> float:
        """Return the mean distance; ``nan`` without a persona."""
        scale = 100 if self.unit.startswith("%") else 1
        distances = [abs(a / max(b, 1) - c / max(d, 1)) for a, b, c, d in gathered]
        return scale * math.fsum(distances) / len(distances) if distances else math.nan


@dataclass(frozen=True)
class OwnWords:
    """The share of a persona's different words that the person uses in the held-out turns, too: mean over personas."""

    name: str = "own-words"
    unit: str = "%"
    better: Literal["higher"] = "higher"

    @property
    def signature(self) -> str:
        """Names how words are cut and what is averaged."""
        return f"{self.name}|case:lc|of:different words of all replies|among:those of held-out turns|mean:personas"

    def gather(self, samples: Sequence[Sample]) -> tuple[int, int]:
        """Return how many different words the replies have, and how many of these the held-out turns have."""
        said, meant = (
            {word for text in texts for word in WORD.findall(text.lower())}
            for texts in ([sample.reply for sample in samples], [sample.reference for sample in samples])
        )
        return len(said), len(said & meant)

    def value(self, gathered: Sequence[tuple[int, int]]) -> float:
        """Return the mean share in per cent, 0 for a persona that says nothing; ``nan`` without a persona."""
        shares = [both / said if said else 0.0 for said, both in gathered]
        return 100 * math.fsum(shares) / len(shares) if shares else math.nan
