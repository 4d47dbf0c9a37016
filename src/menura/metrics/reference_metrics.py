"""What AR and AR+'s tables print, as their public program counts it: to be compared with those tables, and no others.

Tokens are characters in lower case without blanks, then an end symbol; the begin symbol is no token. Every figure is a
mean over batches of 64. Batches are cut in an order that the texts alone decide, by a hash: neither the order of
samples nor the names of personas can show. Shape letters: S samples, C columns, B batches, E entries.
"""

import hashlib
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy
from numpy.typing import NDArray

from menura.errors import ConfigError
from menura.metrics.perplexity import perplexity_of
from menura.metrics.score import Sample
from menura.metrics.words import clipped, grams_of

BATCH = 64
ORDERS = 4  # n-grams of 1 to 4 tokens: BLEU-4
END = "\0"  # the end symbol; no text contains it
CLASSES = 9489  # AR's characters

Numbers = NDArray[Any]
SequenceLayout = tuple[Numbers, Numbers]  # (S,) what orders the samples, (S, C) what is counted of each


def characters(text: str) -> tuple[str, ...]:
    """Return the tokens of a reply: characters in lower case, no blanks, then the end symbol."""
    return (*"".join(text.lower().split()), END)


@dataclass(frozen=True)
class _Batched(ABC):
    """What these metrics share: rows of numbers, put in order, cut into batches, a figure a batch, their mean."""

    unit: str = "share"
    better: Literal["higher", "lower"] = "higher"

    def gather(self, samples: Sequence[Sample]) -> Any:
        """Return the rows of one persona's samples."""
        return _order(samples), numpy.array([self._row(sample) for sample in samples], dtype=numpy.float64)

    def value(self, gathered: Sequence[Any]) -> float:
        """Return the mean over batches; ``nan`` without a sample."""
        gathered = [rows for rows in gathered if len(rows[0])]
        if not gathered:
            return math.nan
        order, columns = (numpy.concatenate(parts) for parts in zip(*gathered, strict=True))
        starts = numpy.arange(0, len(order), BATCH)
        return self._mean(self._figures(columns[numpy.argsort(order, kind="stable")], starts))

    @abstractmethod
    def _row(self, sample: Sample) -> Sequence[float]:
        """Return what is counted of a sample."""

    @abstractmethod
    def _figures(self, columns: Numbers, starts: Numbers) -> Numbers:
        """Return (B,) figures, from (S, C) columns in order and (B,) places where batches start."""

    def _mean(self, figures: Numbers) -> float:
        return _mean(figures)


@dataclass(frozen=True)
class ReferenceDistinct(_Batched):
    """Different n-grams of a reply / its tokens, whatever the order (spec D2, A9): it falls with length only.

    A reply of n tokens without a repetition scores 1 of single tokens and (n - 1) / n of pairs.
    """

    length: int = 1

    @property
    def name(self) -> str:
        """``dist-1-release``, ``dist-2-release``."""
        return f"dist-{self.length}-release"

    @property
    def signature(self) -> str:
        """Names tokens, denominator and means."""
        return f"{self.name}|case:lc|tok:char|end:counted|per:tokens|mean:replies,batches of {BATCH}"

    def _row(self, sample: Sample) -> Sequence[float]:
        said = characters(sample.reply)
        return (len(grams_of(said, self.length)) / len(said),)

    def _figures(self, columns: Numbers, starts: Numbers) -> Numbers:
        figures: Numbers = numpy.add.reduceat(columns[:, 0], starts) / _counts(starts, len(columns))
        return figures


@dataclass(frozen=True)
class ReferenceBleu(_Batched):
    """BLEU-4 of each batch without smoothing, against references that keep their pads (spec D6, A8).

    The brevity penalty takes every reference to be as long as the batch's longest, or as ``padded`` tokens: a perfect
    copy scores little.
    """

    padded: int = 0  # tokens; 0 is the longest reference of the batch

    name: str = "bleu-release-padded"
    unit: str = "small share"

    @property
    def signature(self) -> str:
        """Names tokens, pads and means."""
        pads = self.padded or "longest"
        return f"{self.name}|case:lc|tok:char|end:counted|pads:{pads}|smooth:none|refs:1|mean:batches of {BATCH}"

    def _row(self, sample: Sample) -> Sequence[float]:
        said, wanted = characters(sample.reply), characters(sample.reference)
        orders = range(1, ORDERS + 1)
        # A pad is in no reply, so pads change no match.
        matches = [clipped(grams_of(said, order), [grams_of(wanted, order)]) for order in orders]
        return (len(said), len(wanted), *matches, *(max(0, len(said) - order + 1) for order in orders))

    def _figures(self, columns: Numbers, starts: Numbers) -> Numbers:
        sums = numpy.add.reduceat(columns, starts)
        longest = numpy.maximum(numpy.maximum.reduceat(columns[:, 1], starts), self.padded)
        matches, grams = sums[:, 2 : 2 + ORDERS], sums[:, 2 + ORDERS :]
        any_match = matches.min(-1) > 0
        shares = numpy.where(any_match[:, None], matches, 1) / numpy.where(any_match[:, None], grams, 1)
        short = numpy.minimum(1 - longest * _counts(starts, len(columns)) / sums[:, 0], 0)
        figures: Numbers = numpy.where(any_match, numpy.exp(numpy.log(shares).mean(-1) + short), 0.0)
        return figures


@dataclass(frozen=True)
class ReferencePerplexity(_Batched):
    """exp of the mean over batches of dialogue NLL plus ``weight`` times auxiliary NLL, per token (D5, A6).

    It is no perplexity of replies: a model with an easy second task scores lower. ``nan`` where samples say nothing of
    a second stream.
    """

    weight: float = 0.5

    name: str = "ppl-release-sum"
    unit: str = "per token"
    better: Literal["lower"] = "lower"

    @property
    def signature(self) -> str:
        """Names the sum and the mean."""
        return f"{self.name}|per:token|end:counted|auxiliary:{self.weight:g}|mean:batches of {BATCH}"

    def _row(self, sample: Sample) -> Sequence[float]:
        auxiliary = math.nan if sample.auxiliary_nll is None else sample.auxiliary_nll
        return sample.reference_nll, sample.reference_tokens, auxiliary, sample.auxiliary_tokens

    def _figures(self, columns: Numbers, starts: Numbers) -> Numbers:
        nll, tokens, auxiliary, auxiliary_tokens = numpy.add.reduceat(columns, starts).T
        figures: Numbers = nll / tokens + self.weight * auxiliary / numpy.maximum(auxiliary_tokens, 1)
        return figures

    def _mean(self, figures: Numbers) -> float:
        return perplexity_of([_mean(figures)], [1], "pooled")


@dataclass(frozen=True)
class ReferenceF1:
    """F1 of each class of token, place by place, averaged over ``classes`` and batches (spec D6, A7).

    Replies and references of a batch are padded to its longest, or to ``padded`` tokens, and the pad is a class. Nearly
    all classes are in no batch and count 0.
    """

    classes: int = CLASSES
    padded: int = 0  # tokens; 0 is the longest reply or reference of the batch

    name: str = "f1-release-macro"
    unit: str = "small share"
    better: Literal["higher"] = "higher"

    def __post_init__(self) -> None:
        """Refuse a mean over nothing."""
        if self.classes < 1:
            raise ConfigError(f"classes: {self.classes}, must be at least 1")

    @property
    def signature(self) -> str:
        """Names tokens, pads, classes and means."""
        pads = self.padded or "longest"
        cut = f"case:lc|tok:char|end:counted|pads:{pads}|classes:{self.classes}"
        return f"{self.name}|{cut}|refs:1|mean:classes,batches of {BATCH}"

    def gather(self, samples: Sequence[Sample]) -> tuple[Numbers, Numbers, Numbers]:
        """Return (S,) orders, (S, 3) lengths and entries of each sample, (E, 3) class, places shared, places in all."""
        entries = [_by_class(characters(s.reply), characters(s.reference)) for s in samples]
        lengths = [(len(characters(s.reply)), len(characters(s.reference))) for s in samples]
        counts = [(*pair, len(found)) for pair, found in zip(lengths, entries, strict=True)]
        flat = [entry for found in entries for entry in found]
        return _order(samples), numpy.array(counts).reshape(-1, 3), numpy.array(flat).reshape(-1, 3)

    def value(self, gathered: Sequence[tuple[Numbers, Numbers, Numbers]]) -> float:
        """Return the mean; ``nan`` without a sample."""
        gathered = [rows for rows in gathered if len(rows[0])]
        if not gathered:
            return math.nan
        order, counts, entries = (numpy.concatenate(parts) for parts in zip(*gathered, strict=True))
        ranked = numpy.argsort(order, kind="stable")
        batch = numpy.empty(len(order), dtype=numpy.int64)
        batch[ranked] = numpy.arange(len(order)) // BATCH  # the batch of each sample
        starts = numpy.arange(0, len(order), BATCH)
        pads = self._pad_class(counts[ranked, :2], starts)
        return _mean((_class_sums(numpy.repeat(batch, counts[:, 2]), entries, len(starts)) + pads) / self.classes)

    def recentred(self, figures: Numbers, value: float) -> Numbers:
        """Move the figures of resampled personas so that their median lies on ``value``.

        Samples drawn twice have fewer classes between them: resamples are too low, though their spread is right.
        """
        moved: Numbers = numpy.clip(figures + (value - numpy.median(figures)), 0.0, 1.0)
        return moved

    def _pad_class(self, lengths: Numbers, starts: Numbers) -> Numbers:
        """Return (B,) the F1 of the pad, from (S, 2) lengths in order; 0 where nothing is padded."""
        longer = lengths.max(-1)
        width = numpy.maximum(numpy.maximum.reduceat(longer, starts), self.padded)
        counts = _counts(starts, len(lengths))
        shared = width * counts - numpy.add.reduceat(longer, starts)
        total = 2 * width * counts - numpy.add.reduceat(lengths.sum(-1), starts)
        figures: Numbers = 2 * shared / numpy.maximum(total, 1)
        return figures


def _by_class(said: Sequence[str], wanted: Sequence[str]) -> list[tuple[int, int, int]]:
    """Return (class, places where both have it, places where either has it, added) for each class there is."""
    total = Counter(said) + Counter(wanted)
    shared = Counter(a for a, b in zip(said, wanted, strict=False) if a == b)  # beyond the shorter there are pads
    return [(ord(token), shared[token], count) for token, count in total.items()]


def _class_sums(batch: Numbers, entries: Numbers, batches: int) -> Numbers:
    """Return (B,) sums over classes of F1, from the batch of each of (E, 3) entries."""
    classes = int(entries[:, 0].max()) + 1
    keys, places = numpy.unique(batch * classes + entries[:, 0], return_inverse=True)
    shared, total = (numpy.bincount(places, weights=entries[:, column]) for column in (1, 2))
    return numpy.bincount(keys // classes, weights=2 * shared / total, minlength=batches)


def _mean(figures: Numbers) -> float:
    return math.fsum(figures.tolist()) / len(figures)


def _counts(starts: Numbers, samples: int) -> Numbers:
    return numpy.diff(starts, append=samples)


def _order(samples: Sequence[Sample]) -> Numbers:
    """Return (S,) numbers to sort by: by dialogue and reference first, so that systems share their batches."""
    found = []
    for sample in samples:
        asked = repr((sample.dialogue_id, sample.reference))
        all_of_it = repr(replace(sample, persona_id=""))
        found.append(int.from_bytes(_digest(asked, 5) + _digest(all_of_it, 3)))
    return numpy.array(found, dtype=numpy.uint64)


def _digest(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=size).digest()
