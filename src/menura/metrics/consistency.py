"""The C score: do replies agree with the persona's facts, by NLI labels? (Madotto et al., 2019)"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menura.metrics.score import Sample, summed
from menura.metrics.word_f1 import normalised

SUM, CONTRADICTIONS, FACTS, REPLIES = range(4)  # columns of the statistics: the sum of labels, then three counts
SHARED = 0.5  # share of a fact's content words, for the lexical label
# Words without content, verbs of being, having and liking among them.
_COMMON = """i my me mine you your he she it we they am is are was were be been being have has had do does did to of
in on at and or but for with that this so as very really just there s m re ve d ll t
like likes love loves enjoy enjoys"""
_NEGATIONS = "no not never none nothing nobody neither nor cannot dont doesnt didnt isnt arent wont cant"
_NEGATED = frozenset(_NEGATIONS.split())
_EMPTY = frozenset(_COMMON.split()) | _NEGATED


def lexical_verdict(reply: str, fact: str) -> int:
    """Return +1, −1 or 0 by shared words alone: no trained scorer, a rough stand-in for one.

    Half of the fact's content words in the reply count as agreement, and as contradiction where one of the two is
    negated and the other is not.
    """
    said, known = _content(reply), _content(fact)
    if not known or len(known & said) < SHARED * len(known):
        return 0
    return -1 if _negated(reply) != _negated(fact) else 1


def _content(text: str) -> frozenset[str]:
    return frozenset(normalised(text)) - _EMPTY


def _negated(text: str) -> bool:
    words = text.lower().replace("’", "'").split()
    return any("n't" in word or word.strip(".,!?;:'\"") in _NEGATED for word in words)


@dataclass(frozen=True)
class OfFacts:
    """The base of these metrics: replies without facts are left out, the scorer is part of the signature."""

    name: str
    unit: str
    better: Literal["lower", "higher"] = "higher"
    lexical: bool = False

    @property
    def scorer(self) -> str:
        """``nli``, or none for shared words."""
        return "" if self.lexical else "nli"

    @property
    def signature(self) -> str:
        """The values of labels; ``signature_of`` adds the scorer."""
        by = "|verdicts:lexical, no trained scorer" if self.lexical else ""
        return f"{self.name}|entailed:+1|neutral:0|contradicted:-1{by}"

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Add the scorer, and the number of labelled replies."""
        labelled = [sample for sample in samples if self._nli_labels(sample)]
        scorers = " and ".join(sorted({sample.entailed_by for sample in labelled if sample.entailed_by}))
        by = "" if self.lexical else f"|verdicts:{scorers or 'none'}"
        return f"{self.signature}{by}|replies:{len(labelled)}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float, float, float]:
        """Return (sum of labels, contradictions, labelled facts, labelled replies)."""
        labelled = [nli_labels for sample in samples if (nli_labels := self._nli_labels(sample))]
        every = [label for nli_labels in labelled for label in nli_labels]
        return float(sum(every)), float(every.count(-1)), float(len(every)), float(len(labelled))

    def _nli_labels(self, sample: Sample) -> tuple[int, ...]:
        if self.lexical:
            return tuple(lexical_verdict(sample.reply, fact) for fact in sample.facts)
        return sample.nli_labels


@dataclass(frozen=True)
class ConsistencySum(OfFacts):
    """The sum of labels over a dialogue's facts, mean over replies: between ± the number of facts."""

    name: str = "c-score"
    unit: str = "sum over facts"

    def value(self, gathered: Sequence[tuple[float, ...]]) -> float:
        """Return the mean sum; ``nan`` without a labelled reply."""
        return _ratio(gathered, SUM, REPLIES)


@dataclass(frozen=True)
class ConsistencyMean(OfFacts):
    """The mean label of a fact, in -1..1: comparable if personas have different numbers of facts."""

    name: str = "c-mean"
    unit: str = "mean over facts"

    def value(self, gathered: Sequence[tuple[float, ...]]) -> float:
        """Return the mean; ``nan`` without a labelled reply."""
        return _ratio(gathered, SUM, FACTS)


@dataclass(frozen=True)
class Contradictions(OfFacts):
    """The share of labels that are contradictions, in per cent."""

    name: str = "c-contradictions"
    unit: str = "%"
    better: Literal["lower", "higher"] = "lower"

    def value(self, gathered: Sequence[tuple[float, ...]]) -> float:
        """Return the percentage; ``nan`` without a labelled reply."""
        return 100 * _ratio(gathered, CONTRADICTIONS, FACTS)


def _ratio(gathered: Sequence[tuple[float, ...]], over: int, under: int) -> float:
    totals = summed(gathered) if gathered else [0.0] * 4
    return totals[over] / totals[under] if totals[under] else math.nan
