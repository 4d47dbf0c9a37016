"""Users become subsets of similar or of dissimilar users, by their facts (CMAML, impact factors).

The paper does not define similarity. Here it is the cosine of TF-IDF vectors over all the facts of each user.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Literal

import numpy

from menura.errors import DataError, number_of
from menura.tasks.split import Splits
from menura.tasks.task import Task

Users = Literal["similar", "dissimilar"]
Matrix = numpy.ndarray[Any, numpy.dtype[numpy.float64]]  # (personas, personas), symmetric, 1 on the diagonal
WORD = re.compile(r"[\w']+")
CHOSEN_SPLITS = ("train", "test")


def choose_users(made: Splits, users: Users, count: int) -> Splits:
    """Return a split of at most ``count`` users on its training and in its test split, chosen in each by themselves.

    The valid split stays whole. ``likeness`` then tells the mean similarity of two users of a split. Raises DataError
    if a persona has no facts, or if a split has fewer than two.
    """
    splits = dict(made.splits)
    likeness: dict[str, float] = {}
    for split in CHOSEN_SPLITS:
        if splits.get(split):
            between = similarities(splits[split], split)
            chosen = (most_alike if users == "similar" else least_alike)(between, count)
            splits[split] = tuple(splits[split][index] for index in sorted(chosen))
            likeness[split] = mean_between(between, chosen)
    return replace(made, splits=splits, likeness=likeness)


def similarities(tasks: Sequence[Task], split: str = "") -> Matrix:
    """Return the cosines of all pairs of TF-IDF vectors, with idf = ln(users / users with the word).

    A user whose every word all others have is similar to nobody.
    """
    counts = [_words(task) for task in tasks]
    _all_told(counts, split)
    holders = Counter(chain.from_iterable(counts))
    column = {word: index for index, word in enumerate(sorted(holders))}
    vectors = numpy.zeros((len(tasks), len(column)))
    for row, words in enumerate(counts):
        for word, times in words.items():
            vectors[row, column[word]] = times * math.log(len(tasks) / holders[word])
    lengths = numpy.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / numpy.where(lengths > 0, lengths, 1)
    between: Matrix = unit @ unit.T
    numpy.fill_diagonal(between, 1.0)
    return between


def most_alike(between: Matrix, count: int) -> list[int]:
    """Return the user with the highest mean similarity to its ``count - 1`` nearest, and these; of equals the first."""
    nearest = numpy.argsort(-_others(between), axis=1, kind="stable")[:, : count - 1]
    means = numpy.take_along_axis(between, nearest[:, : len(between) - 1], axis=1).mean(axis=1)
    seed = int(means.argmax())
    return [seed, *(int(index) for index in nearest[seed, : len(between) - 1])]


def least_alike(between: Matrix, count: int) -> list[int]:
    """Return users chosen greedily: the one least similar to all, then repeatedly the least similar to any chosen."""
    chosen = [int(between.mean(axis=1).argmin())]
    nearest = between[chosen[0]].copy()  # of each user to the chosen ones
    while len(chosen) < min(count, len(between)):
        nearest[chosen] = math.inf
        chosen.append(int(nearest.argmin()))
        nearest = numpy.maximum(nearest, between[chosen[-1]])
    return chosen


def mean_between(between: Matrix, chosen: Sequence[int]) -> float:
    """Return the mean similarity of two different chosen users."""
    own = between[numpy.ix_(chosen, chosen)]
    return float((own.sum() - len(chosen)) / (len(chosen) * (len(chosen) - 1)))


def _others(between: Matrix) -> Matrix:
    """Return a copy with −inf on the diagonal, so that users are never their own neighbours."""
    copied = between.copy()
    numpy.fill_diagonal(copied, -math.inf)
    return copied


def _words(task: Task) -> Counter[str]:
    return Counter(word for fact in task.facts for word in WORD.findall(fact.lower()))


def _all_told(counts: Sequence[Mapping[str, int]], split: str) -> None:
    where = f" in the {split} split" if split else ""
    if len(counts) < 2:
        raise DataError(f"{number_of(len(counts), 'user')}{where}: to be alike takes 2", code="too_few_personas")
    silent = sum(not words for words in counts)
    if silent:
        found = f"{silent} of {number_of(len(counts), 'persona')}{where} have no facts to compare"
        raise DataError(found, code="no_facts", hint="--set data.user_subset=all, or a corpus with facts")
