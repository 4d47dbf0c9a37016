"""Votes for one of two systems become shares of wins and Bradley-Terry strengths (by the library evalica)."""

import importlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy
from numpy.typing import NDArray

from menura.annotation.protocols import TIE, Question
from menura.annotation.resampling import Resampling, StudyFigure, Weights
from menura.annotation.study import Key, KeyItem
from menura.annotation.votes import Votes
from menura.errors import number_of
from menura.metrics.significance import percentile_interval

INSTALL = 'pip install "menura[annotate]"'
PRIOR = 1.0  # ties that each two systems have beforehand: a system that never lost has no finite strength otherwise

Counts = NDArray[numpy.float64]  # votes for each system over each other, ties as half of one to both, (S, S)


@dataclass(frozen=True)
class SystemComparison:
    """Two systems by one question; ``share`` is that of the first in all votes, a tie being half of one."""

    question: str
    first: str
    second: str
    wins: int
    ties: int
    losses: int
    share: StudyFigure


@dataclass(frozen=True)
class Strength:
    """A system's strength in logits, 0 on average: two that differ by d win 1 / (1 + exp(-d)) of their votes."""

    question: str
    system: str
    figure: StudyFigure


@dataclass(frozen=True)
class _Ballots:
    """An item with votes: for its first and its second system by name, and ties."""

    item: KeyItem
    wins: int
    losses: int
    ties: int


def compared(
    votes: Votes, key: Key, resampling: Resampling
) -> tuple[tuple[SystemComparison, ...], tuple[Strength, ...], list[str]]:
    """Return the comparisons and strengths of every question, and notes about them."""
    comparisons: list[SystemComparison] = []
    strengths: list[Strength] = []
    notes = [_left_side(votes, question) for question in key.protocol.questions]
    if key.same:
        notes.append(f"{number_of(len(key.same), 'pair')} of the same replies: not asked, each counts as a tie")
    evalica = installed_evalica()
    if evalica is None:
        notes.append(f"no Bradley-Terry strengths: evalica is not installed ({INSTALL})")
    for question in key.protocol.questions:
        ballots = _ballots(votes, key, question)
        comparisons += _comparisons(ballots, question, resampling)
        if evalica is not None and ballots:
            strengths += _strengths(ballots, question, resampling, evalica)
    return tuple(comparisons), tuple(strengths), notes


def bradley_terry(counts: Counts, evalica: Any) -> NDArray[numpy.float64]:
    """Return strengths in logits, 0 on average, of how often each system won over each other, (S,).

    Each two systems have one tie beforehand, so that all strengths are finite.
    """
    counts = counts + PRIOR / 2 * (1 - numpy.eye(len(counts)))
    places = [(a, b) for a in range(len(counts)) for b in range(len(counts)) if a != b]
    result = evalica.bradley_terry(
        [a for a, _ in places],
        [b for _, b in places],
        [evalica.Winner.X] * len(places),
        weights=[float(counts[place]) for place in places],
        tolerance=1e-9,
        limit=10_000,
    )
    logits = numpy.log(numpy.array([result.scores[place] for place in range(len(counts))]))
    strengths: NDArray[numpy.float64] = logits - logits.mean()
    return strengths


def installed_evalica() -> Any:
    """Return the library of Bradley-Terry strengths; None where it is not installed."""
    try:
        return importlib.import_module("evalica")
    except ImportError:
        return None


def _ballots(votes: Votes, key: Key, question: Question) -> list[_Ballots]:
    found = []
    for name, item in key.items.items():
        counts = Counter(votes.of(name, question.name))
        by_system = {item.systems[0]: counts["A"], item.systems[1]: counts["B"]}
        first, second = sorted(item.systems)
        if counts:
            found.append(_Ballots(item, by_system[first], by_system[second], counts[TIE.value]))
    # As many votes as an item that was asked has.
    return found + [_Ballots(item, 0, 0, len(votes.raters)) for item in key.same]


def _comparisons(ballots: Sequence[_Ballots], question: Question, resampling: Resampling) -> list[SystemComparison]:
    systems = sorted({name for one in ballots for name in one.item.systems})
    found = []
    for first, second in combinations(systems, 2):
        own = [one for one in ballots if set(one.item.systems) == {first, second}]
        if not own:
            continue
        points = numpy.array([one.wins + one.ties / 2 for one in own])
        cast = numpy.array([one.wins + one.losses + one.ties for one in own], dtype=float)
        share = resampling.figure([one.item for one in own], _share_of(points, cast))
        wins, ties, losses = (sum(n) for n in zip(*((one.wins, one.ties, one.losses) for one in own), strict=True))
        found.append(SystemComparison(question.name, first, second, wins, ties, losses, share))
    return found


def _share_of(points: NDArray[numpy.float64], cast: NDArray[numpy.float64]) -> Any:
    def share(weights: Weights) -> float:
        whole = float(weights @ cast)
        return float(weights @ points) / whole if whole else math.nan

    return share


def _strengths(ballots: Sequence[_Ballots], question: Question, resampling: Resampling, evalica: Any) -> list[Strength]:
    systems = sorted({name for one in ballots for name in one.item.systems})
    place: Mapping[str, int] = {name: number for number, name in enumerate(systems)}
    first = numpy.array([place[min(one.item.systems)] for one in ballots])
    second = numpy.array([place[max(one.item.systems)] for one in ballots])
    wins = numpy.array([one.wins + one.ties / 2 for one in ballots])
    losses = numpy.array([one.losses + one.ties / 2 for one in ballots])

    def strengths(weights: Weights) -> NDArray[numpy.float64]:
        counts = numpy.zeros((len(systems), len(systems)))
        numpy.add.at(counts, (first, second), weights * wins)
        numpy.add.at(counts, (second, first), weights * losses)
        return bradley_terry(counts, evalica)

    items = [one.item for one in ballots]
    whole = strengths(numpy.ones(len(items)))
    resampled = [strengths(drawn) for drawn in resampling.weights(items)] if resampling.varies(items) else []
    return [
        Strength(
            question.name, name, StudyFigure(float(whole[n]), *percentile_interval([drawn[n] for drawn in resampled]))
        )
        for name, n in place.items()
    ]


def _left_side(votes: Votes, question: Question) -> str:
    """Return how often raters chose the left side: far from half, they chose by place."""
    cast = [vote for (_, _, name), vote in votes.by_ballot.items() if name == question.name and vote != TIE.value]
    share = f"{100 * cast.count('A') / len(cast):.0f} %" if cast else "none"
    return f"{question.name}: {share} of {number_of(len(cast), 'choice')} for the left side"
