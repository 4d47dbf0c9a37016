"""Votes become the scores of systems, and the agreement of raters, with intervals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy
from numpy.typing import NDArray

from menura.annotation import pairs
from menura.annotation.agreement import counted, fleiss_kappa, gwet_ac1, krippendorff_alpha, majority
from menura.annotation.protocols import Question
from menura.annotation.resampling import FEW_UNITS, Resampling, StudyFigure, Weights, resampling_of
from menura.annotation.study import Key, KeyItem
from menura.annotation.votes import Votes
from menura.errors import DataError, number_of
from menura.metrics.significance import ROUNDS

COEFFICIENTS = ("Fleiss' kappa", "Krippendorff's alpha", "Gwet's AC1")
ONE_RATER, NO_VOTES = "one rater", "no votes"


@dataclass(frozen=True)
class SystemRating:
    """One system's answers to one question.

    ``mean`` is of all votes, ``majority`` of each item's majority vote, ``shares`` are those of the answers.
    """

    system: str
    question: str
    items: int
    votes: int
    mean: StudyFigure
    majority: StudyFigure
    shares: Mapping[str, float]


@dataclass(frozen=True)
class Agreement:
    """How far raters agree on one question beyond chance, by coefficient, and the share of items they all agree on."""

    question: str
    items: int
    by_coefficient: Mapping[str, StudyFigure]
    unanimous: float


@dataclass(frozen=True)
class StudyScores:
    """All that comes of a study; ratings or comparisons, and what a reader must know of them."""

    agreements: tuple[Agreement, ...]
    ratings: tuple[SystemRating, ...] = ()
    comparisons: tuple[pairs.SystemComparison, ...] = ()
    strengths: tuple[pairs.Strength, ...] = ()
    about: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def score(votes: Votes, key: Key, *, rounds: int = ROUNDS, seed: int) -> StudyScores:
    """Return the scores of a study; DataError where nobody voted."""
    if not votes.by_ballot:
        raise DataError("no vote in these files", code="no_votes", hint="give the files that raters sent back")
    resampling = resampling_of([*key.items.values(), *key.same], rounds=rounds, seed=seed)
    agreements = tuple(_agreement(votes, key, question, resampling) for question in key.protocol.questions)
    about = {
        "study": key.study,
        "protocol": f"{key.protocol.name}: {key.protocol.source}",
        "raters": votes.raters,
        "items": len(key.items),
        "votes": len(votes.by_ballot),
        "missing": votes.missing,
        "units": f"{number_of(resampling.units, resampling.unit)}, {rounds} resamples, seed {seed}",
    }
    notes = [*_notes(votes, key, resampling), *_absent(agreements)]
    if not key.protocol.pairs:
        ratings = tuple(_ratings(votes, key, resampling))
        return StudyScores(agreements, ratings, about=about, notes=tuple(notes))
    comparisons, strengths, more = pairs.compared(votes, key, resampling)
    return StudyScores(agreements, (), comparisons, strengths, about, (*notes, *more))


def _ratings(votes: Votes, key: Key, resampling: Resampling) -> list[SystemRating]:
    systems = sorted({name for item in key.items.values() for name in item.systems})
    return [
        _rating(votes, {n: i for n, i in key.items.items() if i.systems == (system,)}, question, resampling)
        for system in systems
        for question in key.protocol.questions
    ]


def _rating(votes: Votes, items: Mapping[str, KeyItem], question: Question, resampling: Resampling) -> SystemRating:
    given = {name: [int(vote) for vote in votes.of(name, question.name)] for name in items}
    given = {name: own for name, own in given.items() if own}
    sums = numpy.array([sum(own) for own in given.values()], dtype=float)
    counts = numpy.array([len(own) for own in given.values()], dtype=float)
    best = numpy.array([majority(own) for own in given.values()], dtype=float)
    flat = [str(vote) for own in given.values() for vote in own]
    voted = [items[name] for name in given]
    return SystemRating(
        system=next(iter(items.values())).systems[0],
        question=question.name,
        items=len(given),
        votes=len(flat),
        mean=resampling.figure(voted, lambda weights: _ratio(weights @ sums, weights @ counts)),
        majority=resampling.figure(voted, lambda weights: _ratio(weights @ best, weights.sum())),
        shares={value: _ratio(flat.count(value), len(flat)) for value in question.values},
    )


def _agreement(votes: Votes, key: Key, question: Question, resampling: Resampling) -> Agreement:
    """Return the agreement over items of all systems; of pairs, on the side that is chosen.

    Each system stands on either side by chance, so that one which wins often makes no agreement by itself.
    """
    given = {name: votes.of(name, question.name) for name in key.items}
    given = {name: own for name, own in given.items() if own}
    table = numpy.array(counted(list(given.values()), question.values), dtype=float).reshape(-1, len(question.values))
    items = [key.items[name] for name in given]
    raters = len({rater for rater, _, asked in votes.by_ballot if asked == question.name})
    if raters < 2:
        nothing = StudyFigure(float("nan"), note=ONE_RATER if raters else NO_VOTES)
        return Agreement(question.name, len(items), dict.fromkeys(COEFFICIENTS, nothing), float("nan"))
    by_all = table.sum(axis=1) == raters
    whole_items = [item for item, whole in zip(items, by_all, strict=True) if whole]
    ordinal = not key.protocol.pairs
    figures = (
        _figure(whole_items, table[by_all], resampling, fleiss_kappa),
        _figure(items, table, resampling, lambda t, w: krippendorff_alpha(t, w, ordinal=ordinal)),
        _figure(items, table, resampling, gwet_ac1),
    )
    paired = table[table.sum(axis=1) > 1]
    alike = float((paired.max(axis=1) == paired.sum(axis=1)).mean()) if len(paired) else float("nan")
    return Agreement(question.name, len(items), dict(zip(COEFFICIENTS, figures, strict=True)), alike)


def _figure(
    items: Sequence[KeyItem],
    table: NDArray[numpy.float64],
    resampling: Resampling,
    coefficient: Callable[[NDArray[numpy.float64], Weights], float],
) -> StudyFigure:
    if not items:
        return StudyFigure(float("nan"), note="no item that all raters judged")
    if (table.sum(axis=0) > 0).sum() < 2 and coefficient is not gwet_ac1:
        return StudyFigure(float("nan"), note="all votes are the same")
    return resampling.figure(items, lambda weights: coefficient(table, weights))


def _notes(votes: Votes, key: Key, resampling: Resampling) -> list[str]:
    notes = []
    if len({item.persona for item in key.items.values()}) == 1:
        notes.append("one persona: the intervals say nothing of other people")
    if resampling.units < FEW_UNITS:
        notes.append(f"{number_of(resampling.units, resampling.unit)}: so few make the intervals too narrow")
    if votes.missing:
        notes.append(f"{number_of(votes.missing, 'vote')} missing: kappa is over the items that all raters judged")
    return notes


def _absent(agreements: Sequence[Agreement]) -> list[str]:
    """Return, for each coefficient that there is not, why."""
    found: dict[tuple[str, str], list[str]] = {}
    for agreement in agreements:
        for name, figure in agreement.by_coefficient.items():
            if figure.note:
                found.setdefault((name, figure.note), []).append(agreement.question)
    by_reason: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (name, note), questions in found.items():
        by_reason.setdefault((note, tuple(questions)), []).append(name)
    reasons = {ONE_RATER: "one rater agrees with nobody", "all votes are the same": "undefined: all votes are the same"}
    return [
        f"{', '.join(names)} of {', '.join(questions)}: {reasons.get(note, note)}"
        for (note, questions), names in by_reason.items()
    ]


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole else float("nan")
