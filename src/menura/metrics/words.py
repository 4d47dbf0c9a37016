"""Text becomes the words that PLATO's metrics count, however a model's tokeniser parts punctuation."""

import re
from collections import Counter
from functools import lru_cache

PUNCTUATION = re.compile(r"([^\w\s])")
# As BERT's pieces are put together again: all punctuation stands alone, then contractions are closed.
CLOSED = {" - ": "-", " ' ": "'", " n't": "n't", " do not": " don't"}

Grams = Counter[tuple[str, ...]]


@lru_cache(maxsize=1 << 16)
def words_of(text: str) -> tuple[str, ...]:
    """Return the words in lower case: ``I don't know.`` and ``i do n't know .`` are both i, don't, know and a stop."""
    joined = " ".join(PUNCTUATION.sub(r" \1 ", text.lower()).split())
    for parted, closed in CLOSED.items():
        joined = joined.replace(parted, closed)
    return tuple(joined.split())


def grams_of(words: tuple[str, ...], length: int) -> Grams:
    """Count the n-grams of one length."""
    return Counter(zip(*(words[start:] for start in range(length)), strict=False))  # the tails differ in length


def clipped(reply: Grams, references: "list[Grams]") -> int:
    """Return how many n-grams of a reply a reference has too, each at most as often as in the one with most of it."""
    most: Grams = Counter()
    for reference in references:
        most |= reference
    return (reply & most).total()


def closest(reply: int, references: "list[int]") -> int:
    """Return the reference length nearest to a reply's; of two equally near ones the shorter."""
    return min((abs(length - reply), length) for length in references)[1]
