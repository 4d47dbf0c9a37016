"""BLEU-1 and BLEU-2 of single replies, smoothed as Chen and Cherry (2014) number it: what PLATO's tables print."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from menura.metrics.score import Sample, describe_references, summed
from menura.metrics.words import clipped, closest, grams_of, words_of

ORDERS = 4  # n-grams of 1 to 4 words are smoothed together, whatever order is asked for
EPSILON, SPREAD = 0.1, 5  # of method 1, of method 4
WEIGHTS = {1: (1.0, 0.0, 0.0, 0.0), 2: (0.5, 0.5, 0.0, 0.0), 4: (0.25, 0.25, 0.25, 0.25)}

Order = Literal[1, 2, 4]
Method = Literal[0, 1, 2, 3, 4, 5, 7]


@dataclass(frozen=True)
class Matches:
    """How many n-grams of 1 to 5 words a reply shares with its references, of how many; ``length`` is in words."""

    shared: tuple[int, ...]
    total: tuple[int, ...]  # 1 where the reply is too short to have any
    length: int

    @property
    def precisions(self) -> list[float]:
        """The shares of 1 to 5 words."""
        return [shared / total for shared, total in zip(self.shared, self.total, strict=True)]


def none(matches: Matches) -> list[float]:
    """Method 0: no smoothing."""
    return matches.precisions[:ORDERS]


def epsilon(matches: Matches) -> list[float]:
    """Method 1: no match counts as a tenth of one."""
    found = zip(matches.shared[:ORDERS], matches.total[:ORDERS], strict=True)
    return [(shared or EPSILON) / total for shared, total in found]


def one_more(matches: Matches) -> list[float]:
    """Method 2: one more match among one more, beyond single words."""
    found = zip(matches.shared[1:ORDERS], matches.total[1:ORDERS], strict=True)
    return [matches.precisions[0], *((shared + 1) / (total + 1) for shared, total in found)]


def halves(matches: Matches) -> list[float]:
    """Method 3: the first order without a match counts 1/2 of one, the next 1/4, and so on."""
    return _filled(matches, 1.0)


def by_length(matches: Matches) -> list[float]:
    """Method 4: as method 3, but times ln(words) / 5, as short replies have few n-grams; one word stays as it is."""
    return _filled(matches, math.log(matches.length) / SPREAD) if matches.length > 1 else none(matches)


def neighbours(matches: Matches) -> list[float]:
    """Method 5: each order is averaged with the one before, as already averaged, and the one after."""
    return _averaged(none(matches), matches.precisions[ORDERS])


def by_length_and_neighbours(matches: Matches) -> list[float]:
    """Method 7: method 4, then method 5. A perfect copy scores more than 1."""
    return _averaged(by_length(matches), matches.precisions[ORDERS])


# Method 6 has no value where no pair of words matches, which replies to a dialogue often do not.
SMOOTHED: dict[Method, Callable[[Matches], list[float]]] = {
    0: none,
    1: epsilon,
    2: one_more,
    3: halves,
    4: by_length,
    5: neighbours,
    7: by_length_and_neighbours,
}


def sentence_bleu(reply: str, references: Sequence[str], order: Order, method: Method) -> float:
    """Return BLEU of one reply, 0 where no word matches; orders that are 0 after smoothing are left out of the mean."""
    said, known = words_of(reply), [words_of(reference) for reference in references]
    matches = _matches(said, known)
    if not matches.shared[0]:
        return 0.0
    smoothed = SMOOTHED[method](matches)
    if not method and not all(p for p, weight in zip(smoothed, WEIGHTS[order], strict=True) if weight):
        return 0.0
    logs = [w * math.log(p) for w, p in zip(WEIGHTS[order], smoothed, strict=True) if p > 0]
    short = 1 - closest(len(said), [len(words) for words in known]) / len(said)
    return math.exp(math.fsum(logs) + min(short, 0.0))


@dataclass(frozen=True)
class SmoothedBleu:
    """The mean over replies of ``sentence_bleu``.

    By method 7, the default, a reply with one matching word scores a third or more, and a perfect copy 1.33 (BLEU-1) or
    1.22 (BLEU-2): it compares with PLATO's tables, not with other BLEUs.
    """

    order: Order
    method: Method = 7

    unit: str = "smoothed share"
    better: Literal["higher"] = "higher"

    @property
    def name(self) -> str:
        """``bleu-1-chencherry`` for method 7, else with the method's number."""
        return f"bleu-{self.order}-chencherry" + ("" if self.method == 7 else f"-{self.method}")

    @property
    def signature(self) -> str:
        """Names the smoothing."""
        return f"{self.name}|case:lc|tok:pieces|smooth:method{self.method}|orders:{ORDERS}|mean:replies"

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Add how many references there were."""
        return f"{self.signature}|{describe_references(samples)}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return (sum of BLEU, replies)."""
        scores = (sentence_bleu(s.reply, s.all_references, self.order, self.method) for s in samples)
        return math.fsum(scores), float(len(samples))

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the mean; ``nan`` without a reply."""
        total, replies = summed(gathered) if gathered else (0.0, 0.0)
        return total / replies if replies else math.nan


def _matches(said: tuple[str, ...], reference: list[tuple[str, ...]]) -> Matches:
    orders = range(1, ORDERS + 2)
    shared = [clipped(grams_of(said, order), [grams_of(words, order) for words in reference]) for order in orders]
    total = [max(1, len(said) - order + 1) for order in orders]
    return Matches(tuple(shared), tuple(total), len(said))


def _filled(matches: Matches, scale: float) -> list[float]:
    """Count the i-th order without a match as ``scale / 2 ** i`` matches."""
    filled, missing = [], 0
    for shared, total in zip(matches.shared[:ORDERS], matches.total[:ORDERS], strict=True):
        missing += not shared
        filled.append(shared / total if shared else scale / 2**missing / total)
    return filled


def _averaged(precisions: list[float], fifth: float) -> list[float]:
    before, averaged = precisions[0] + 1, []
    for own, after in zip(precisions, [*precisions[1:], fifth], strict=True):
        before = (before + own + after) / 3
        averaged.append(before)
    return averaged
