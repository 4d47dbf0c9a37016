"""METEOR's score with two of its four matchers: equal words and equal stems, no synonyms and no paraphrases.

The weights are METEOR 1.5's for English (Denkowski and Lavie, 2014). The alignment is our own, and so is the list of
words that count little; the name says that this is not METEOR. With the same two matchers METEOR's program gives the
same, but for words that share their stem with several of the other text: it often leaves them alone, we set them beside
the nearest.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import snowballstemmer

from menura.corpus.stop_words import FUNCTION_WORDS, hash_of
from menura.metrics.score import Sample, describe_references, summed
from menura.metrics.words import words_of

ALPHA, BETA, GAMMA, DELTA = 0.85, 0.2, 0.6, 0.75  # of precision, of fragmentation twice, of content words
STEM = 0.6  # what a match of stems counts beside one of words
BEAM = 40  # alignments kept at each word
FIELDS = 12


@dataclass(frozen=True, order=True)
class Alignment:
    """Words of a reply set beside words of a reference, each at most once; the greatest is the best."""

    matches: int = 0
    exact: int = 0
    fewer_chunks: int = 0  # minus the number of chunks (runs of equal order in both texts)
    nearness: int = 0  # minus the summed distance of places
    pairs: tuple[tuple[int, int], ...] = ()

    def with_pair(self, here: int, there: int, *, exact: bool) -> "Alignment":
        """Return the alignment with one more pair."""
        goes_on = bool(self.pairs) and self.pairs[-1] == (here - 1, there - 1)
        return Alignment(
            self.matches + 1,
            self.exact + exact,
            self.fewer_chunks - (not goes_on),
            self.nearness - abs(here - there),
            (*self.pairs, (here, there)),
        )


def aligned(reply: Sequence[str], reference: Sequence[str]) -> Alignment:
    """Return the alignment of most words; of those the one of most equal words, fewest runs, nearest places."""
    stems = [_stem(word) for word in reference]
    kept = [Alignment()]
    for here, word in enumerate(reply):
        stem = _stem(word)
        places = [there for there, other in enumerate(stems) if other == stem]
        grown = list(kept)
        for alignment in kept:
            taken = {there for _, there in alignment.pairs}
            grown += [
                alignment.with_pair(here, there, exact=word == reference[there])
                for there in places
                if there not in taken
            ]
        kept = sorted(grown, reverse=True)[:BEAM]
    return kept[0]


def statistics_of(reply: str, references: Sequence[str]) -> tuple[float, ...]:
    """Return what the score is computed from, for the reference it is highest with; sums of it are those of a corpus.

    (words, reference words; of both those that count little; equal content words and function words of each; the same
    of stems, together; runs; matches). A copy of the reference has no runs.
    """
    said = words_of(reply)
    return max((_statistics(said, words_of(reference)) for reference in references), key=score_of)


def score_of(statistics: Sequence[float]) -> float:
    """Return the score in 0..1 of one reply or of a corpus."""
    words, reference_words, small, reference_small, *matched, chunks, matches = statistics
    content, theirs_content, function, theirs_function, stems, theirs_stems = matched
    precision = _weighted(content, function, stems) / max(_weighted(words - small, small, 0.0), 1e-12)
    recall = _weighted(theirs_content, theirs_function, theirs_stems)
    recall /= max(_weighted(reference_words - reference_small, reference_small, 0.0), 1e-12)
    if not precision or not recall:
        return 0.0
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    return mean * (1 - GAMMA * math.pow(chunks / matches, BETA))


@dataclass(frozen=True)
class MeteorExactStem:
    """The score of all replies together, in 0..1, each beside the reference it is likest."""

    name: str = "meteor-exact-stem"
    unit: str = "share"
    better: Literal["higher"] = "higher"

    @property
    def signature(self) -> str:
        """Names matchers, weights and the list of function words."""
        weights = ",".join(f"{weight:g}" for weight in (ALPHA, BETA, GAMMA, DELTA))
        return (
            f"{self.name}|case:lc|tok:pieces|weights:{weights}|stem:{STEM:g}|function:{hash_of(FUNCTION_WORDS)}|corpus"
        )

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Add how many references there were."""
        return f"{self.signature}|{describe_references(samples)}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, ...]:
        """Return the sums of ``statistics_of``, and the replies."""
        rows = [(*statistics_of(s.reply, s.all_references), 1.0) for s in samples]
        return tuple(summed([(0.0,) * (FIELDS + 1), *rows]))

    def value(self, gathered: Sequence[tuple[float, ...]]) -> float:
        """Return the score; ``nan`` without a reply."""
        totals = summed(gathered) if gathered else [0.0]
        return score_of(totals[:-1]) if totals[-1] else math.nan


def _statistics(said: Sequence[str], reference: Sequence[str]) -> tuple[float, ...]:
    alignment = aligned(said, reference)
    chunks = -alignment.fewer_chunks
    if chunks == 1 and alignment.matches == len(said) == len(reference):
        chunks = 0
    matched = list(_matched(alignment, said, reference))
    small = (sum(word in FUNCTION_WORDS for word in words) for words in (said, reference))
    counts = [math.fsum(column) for column in zip(*matched, strict=True)] or [0.0] * 6
    return tuple(map(float, (len(said), len(reference), *small, *counts, chunks, alignment.matches)))


def _matched(alignment: Alignment, said: Sequence[str], reference: Sequence[str]) -> Iterator[tuple[float, ...]]:
    """Yield what each pair counts as: content of both, function of both, stems of both by their weight."""
    for here, there in alignment.pairs:
        small, theirs_small = said[here] in FUNCTION_WORDS, reference[there] in FUNCTION_WORDS
        if said[here] == reference[there]:
            yield not small, not theirs_small, small, theirs_small, 0, 0
        else:
            yield 0, 0, 0, 0, *(STEM * (1 - DELTA if is_small else DELTA) for is_small in (small, theirs_small))


def _weighted(content: float, function: float, stems: float) -> float:
    return DELTA * content + (1 - DELTA) * function + stems


@lru_cache(maxsize=1 << 15)
def _stem(word: str) -> str:
    # A stemmer keeps a state while it works: each call has its own, so that threads do not meet in one.
    return str(snowballstemmer.stemmer("english").stemWord(word))
