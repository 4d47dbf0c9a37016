"""Votes on comparisons become wins and Bradley-Terry strengths with intervals."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy
from numpy.typing import NDArray

from menura.annotation.pairs import INSTALL, bradley_terry, installed_evalica
from menura.metrics.significance import percentile_interval
from menura.serve.database.comparisons import BAD, TIE, ComparisonRecord

RESAMPLES = 200
FEWEST_FOR_INTERVALS = 5  # comparisons; of fewer the interval would be too narrow to mean anything


def results_of(voted: Sequence[ComparisonRecord], seed: int = 0) -> dict[str, Any]:
    """Return counts by model, each pair's wins and ties, and strengths in logits with 95 % intervals.

    A chosen model wins over every other of its comparison; ``tie`` and ``bad`` are ties of all. Strengths are None,
    and ``note`` says why, where evalica is not installed or nobody has voted.
    """
    models = sorted({name for one in voted for name in one.lanes})
    places = {name: place for place, name in enumerate(models)}
    counts = numpy.zeros((len(voted), len(models), len(models)))
    for number, one in enumerate(voted):
        counts[number] = _wins(one, places)
    rows = _rows(models, voted)
    note = _strengths(rows, counts, numpy.random.default_rng(seed))
    return {"models": rows, "pairs": _pairs(models, counts.sum(axis=0)), "votes": len(voted), "note": note}


def _wins(one: ComparisonRecord, places: dict[str, int]) -> NDArray[numpy.float64]:
    """Return how often each model won over each other in one comparison, a tie half a win for both, (S, S)."""
    wins = numpy.zeros((len(places), len(places)))
    for first, second in combinations(range(len(one.lanes)), 2):
        a, b = places[one.lanes[first]], places[one.lanes[second]]
        if one.choice in (TIE, BAD):
            wins[a, b] += 0.5
            wins[b, a] += 0.5
        elif one.choice == str(first):
            wins[a, b] += 1
        elif one.choice == str(second):
            wins[b, a] += 1
    return wins


def _rows(models: Sequence[str], voted: Sequence[ComparisonRecord]) -> list[dict[str, Any]]:
    counted: dict[str, Counter[str]] = {name: Counter() for name in models}
    for one in voted:
        for lane, name in enumerate(one.lanes):
            counted[name]["comparisons"] += 1
            kind = {str(lane): "wins", TIE: "ties", BAD: "bad"}.get(str(one.choice), "losses")
            counted[name][kind] += 1
    kinds = ("comparisons", "wins", "losses", "ties", "bad")
    return [{"model": name, **{kind: counted[name][kind] for kind in kinds}, "strength": None} for name in models]


def _pairs(models: Sequence[str], counts: NDArray[numpy.float64]) -> list[dict[str, Any]]:
    return [
        {"models": [models[a], models[b]], "points": [float(counts[a, b]), float(counts[b, a])]}
        for a, b in combinations(range(len(models)), 2)
        if counts[a, b] + counts[b, a]
    ]


def _strengths(rows: list[dict[str, Any]], counts: NDArray[numpy.float64], random: numpy.random.Generator) -> str:
    """Put strengths into the rows; return why there are none, or no intervals."""
    evalica = installed_evalica()
    if evalica is None:
        return f"no Bradley-Terry strengths: evalica is not installed ({INSTALL})"
    if not len(counts):
        return "nobody has voted yet"
    whole = bradley_terry(counts.sum(axis=0), evalica)
    for row, value in zip(rows, whole, strict=True):
        row["strength"] = {"value": float(value), "low": None, "high": None}
    if len(counts) < FEWEST_FOR_INTERVALS:
        return f"no intervals: {len(counts)} votes, {FEWEST_FOR_INTERVALS} wanted"
    drawn = random.integers(len(counts), size=(RESAMPLES, len(counts)))
    resampled = numpy.array([bradley_terry(counts[places].sum(axis=0), evalica) for places in drawn])
    for place, row in enumerate(rows):
        low, high = percentile_interval(list(resampled[:, place]))
        row["strength"] |= {"low": low, "high": high}
    return ""
