"""CIDEr-D: likeness to the references in n-grams that few other references have (Vedantam et al., 2015).

Shape letters: S samples, P pairs of a reply and one of its references, E entries: n-grams of a pair.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy
from numpy.typing import NDArray

from menura.metrics.score import Sample, describe_references
from menura.metrics.words import Grams, grams_of, words_of

ORDERS = 4
SIGMA = 6.0  # words of difference in length; further off is worth little
SCALE = 10.0

Numbers = NDArray[Any]


@dataclass(frozen=True)
class Documents:
    """One persona's references as documents, and its pairs entry by entry.

    An n-gram is a 64-bit ``key``. An entry's weight in the reply times that in the reference is ``shared`` times its
    squared rarity; ``own`` and ``theirs`` so make the squared lengths of both vectors.
    """

    keys: Numbers  # (E,)
    places: Numbers  # (E,) the pair's number times ``ORDERS``, plus the n-gram's words less 1
    shared: Numbers  # (E,)
    own: Numbers  # (E,)
    theirs: Numbers  # (E,)
    likeness: Numbers  # (P,) of the lengths, 0..1
    references: Numbers  # (S,) how many pairs each sample has
    documents: Numbers  # keys of the different n-grams of each sample's references, one sample after the other


@dataclass(frozen=True)
class CiderD:
    """The mean of CIDEr-D over replies, in 0..10.

    How rare an n-gram is, is counted over the references of the personas scored; of one reply alone it is 0.
    """

    name: str = "cider-d"
    unit: str = "of 10"
    better: Literal["higher"] = "higher"

    @property
    def signature(self) -> str:
        """Names words, orders and where documents are counted."""
        return f"{self.name}|case:lc|tok:pieces|orders:{ORDERS}|sigma:{SIGMA:g}|documents:scored|mean:replies"

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Add how many references there were."""
        return f"{self.signature}|{describe_references(samples)}"

    def gather(self, samples: Sequence[Sample]) -> Documents:
        """Return the n-grams of replies and references, counted but not yet weighed."""
        entries: list[tuple[int, int, float, float, float]] = []
        likeness: list[float] = []
        documents: list[int] = []
        for sample in samples:
            reply, known = _all_grams(sample.reply), [_all_grams(text) for text in sample.all_references]
            documents += sorted({_key(gram) for reference in known for gram in reference})
            for reference in known:
                entries += _entries(reply, reference, len(likeness))
                likeness.append(math.exp(-((_pairs(reply) - _pairs(reference)) ** 2) / (2 * SIGMA**2)))
        # In the order of keys: sums then do not depend on that of the words, and keys are looked up in one sweep.
        keys, places, shared, own, theirs = zip(*sorted(entries), strict=True) if entries else ((),) * 5
        return Documents(
            numpy.array(keys, dtype=numpy.uint64),  # without the type they would become floats, which round
            numpy.array(places, dtype=numpy.int64),
            numpy.array(shared, dtype=numpy.float64),
            numpy.array(own, dtype=numpy.float64),
            numpy.array(theirs, dtype=numpy.float64),
            numpy.array(likeness),
            numpy.array([len(sample.all_references) for sample in samples], dtype=numpy.int64),
            numpy.array(documents, dtype=numpy.uint64),
        )

    def value(self, gathered: Sequence[Documents]) -> float:
        """Return the mean; ``nan`` without a reply."""
        replies = sum(len(one.references) for one in gathered)
        if not replies:
            return math.nan
        keys, documents = (
            numpy.concatenate(columns) for columns in zip(*((one.keys, one.documents) for one in gathered), strict=True)
        )
        return SCALE * math.fsum(_scores(gathered, _rarity(keys, documents, replies))) / replies

    def recentred(self, figures: Numbers, value: float) -> Numbers:
        """Move the figures of resampled personas so that their median lies on ``value``.

        What a persona drawn twice says is no longer rare: resamples are too low, though their spread is right.
        """
        moved: Numbers = numpy.clip(figures + (value - numpy.median(figures)), 0.0, SCALE)
        return moved


def _rarity(keys: Numbers, documents: Numbers, count: int) -> Numbers:
    """Return the square of ln(documents / documents with it) of each n-gram; what no document has counts as one."""
    known, counts = numpy.unique(documents, return_counts=True)
    if not len(known):
        return numpy.full(len(keys), math.log(count) ** 2)
    places = numpy.minimum(numpy.searchsorted(known, keys), len(known) - 1)
    having = numpy.where(known[places] == keys, counts[places], 1)
    squared: Numbers = (math.log(count) - numpy.log(having)) ** 2
    return squared


def _scores(gathered: Sequence[Documents], weights: Numbers) -> list[float]:
    """Return a score in 0..1 for each sample: the mean over its references and over orders."""
    likeness = numpy.concatenate([one.likeness for one in gathered])
    bins = len(likeness) * ORDERS
    starts = numpy.cumsum([0, *(len(one.likeness) * ORDERS for one in gathered[:-1])])
    places = numpy.concatenate([one.places + start for one, start in zip(gathered, starts, strict=True)])
    shared, own, theirs = (
        numpy.bincount(places, numpy.concatenate(columns) * weights, minlength=bins)
        for columns in zip(*((one.shared, one.own, one.theirs) for one in gathered), strict=True)
    )
    lengths = numpy.sqrt(own) * numpy.sqrt(theirs)
    cosines = numpy.divide(shared, lengths, out=numpy.zeros(bins), where=lengths > 0)
    pairs = cosines.reshape(-1, ORDERS).mean(axis=1) * likeness
    counts = numpy.concatenate([one.references for one in gathered])
    scores: list[float] = (numpy.add.reduceat(pairs, numpy.cumsum(counts) - counts) / counts).tolist()
    return scores


def _entries(own: Grams, theirs: Grams, pair: int) -> list[tuple[int, int, float, float, float]]:
    """Return the entries of a pair: key, place, and three products of counts."""
    made = []
    for gram in own.keys() | theirs.keys():
        mine, others = own[gram], theirs[gram]
        place = pair * ORDERS + len(gram) - 1
        made.append((_key(gram), place, float(min(mine, others) * others), float(mine**2), float(others**2)))
    return made


def _all_grams(text: str) -> Grams:
    words, grams = words_of(text), Grams()
    for order in range(1, ORDERS + 1):
        grams.update(grams_of(words, order))
    return grams


def _pairs(grams: Grams) -> int:
    """Return how long a text is in pairs of words, as the published program counts it."""
    return sum(count for gram, count in grams.items() if len(gram) == 2)


@lru_cache(maxsize=1 << 17)
def _key(gram: tuple[str, ...]) -> int:
    return int.from_bytes(hashlib.blake2b(" ".join(gram).encode("utf-8", "surrogatepass"), digest_size=8).digest())
