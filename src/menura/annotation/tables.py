"""Scores of a study become a page of tables, and JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from menura.annotation.resampling import StudyFigure
from menura.annotation.scoring import Agreement, StudyScores

ABSENT = "–"


def markdown(scores: StudyScores) -> str:
    """Return the tables and what a reader must know of them; they read well as plain text."""
    blocks = [_ratings(scores), _comparisons(scores), _strengths(scores), _agreements(scores.agreements)]
    lines = [f"{name}: {_said(value)}" for name, value in scores.about.items()]
    lines += [f"note: {note}" for note in scores.notes]
    return "\n\n".join([*(block for block in blocks if block), "\n".join(lines)]) + "\n"


def json_text(scores: StudyScores) -> str:
    """Return all figures as JSON; what is not known is null."""
    return json.dumps(_without_nan(asdict(scores)), indent=1, ensure_ascii=False) + "\n"


def _ratings(scores: StudyScores) -> str:
    if not scores.ratings:
        return ""
    values = list(scores.ratings[0].shares)
    rows = [
        [
            rating.system,
            rating.question,
            _shown(rating.mean, 2),
            _shown(rating.majority, 2),
            *(f"{100 * share:.0f} %" for share in rating.shares.values()),
            f"{rating.items:,}",
        ]
        for rating in scores.ratings
    ]
    head = ["system", "question", "mean of votes [95 %]", "mean of majorities [95 %]", *values, "items"]
    return _table(head, rows)


def _comparisons(scores: StudyScores) -> str:
    rows = [
        [
            one.question,
            one.first,
            one.second,
            f"{one.wins:,}",
            f"{one.ties:,}",
            f"{one.losses:,}",
            _shown(StudyFigure(100 * one.share.value, 100 * one.share.low, 100 * one.share.high), 1),
        ]
        for one in scores.comparisons
    ]
    head = ["question", "first", "second", "wins", "ties", "losses", "first preferred, % [95 %]"]
    return _table(head, rows) if rows else ""


def _strengths(scores: StudyScores) -> str:
    rows = [[one.question, one.system, _shown(one.figure, 2)] for one in scores.strengths]
    return _table(["question", "system", "Bradley-Terry strength, logits [95 %]"], rows) if rows else ""


def _agreements(agreements: Sequence[Agreement]) -> str:
    names = list(agreements[0].by_coefficient)
    rows = [
        [
            one.question,
            *(_shown(one.by_coefficient[name], 3) for name in names),
            ABSENT if math.isnan(one.unanimous) else f"{100 * one.unanimous:.0f} %",
        ]
        for one in agreements
    ]
    if len(agreements) > 1:
        rows.append(["mean", *(_mean(agreements, name) for name in names), ""])
    return _table(["agreement", *(f"{name} [95 %]" for name in names), "items all agree on"], rows)


def _mean(agreements: Sequence[Agreement], name: str) -> str:
    """Return the mean over questions, as PLATO printed kappa."""
    values = [one.by_coefficient[name].value for one in agreements]
    known = [value for value in values if not math.isnan(value)]
    return f"{sum(known) / len(known):.3f}" if len(known) == len(values) else ABSENT


def _shown(figure: StudyFigure, decimals: int) -> str:
    if math.isnan(figure.value):
        return ABSENT
    if math.isnan(figure.low):
        return f"{figure.value:.{decimals}f}"
    return f"{figure.value:.{decimals}f} [{figure.low:.{decimals}f}, {figure.high:.{decimals}f}]"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (head, *rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "| " + " | ".join("-" * width for width in widths) + " |", *lines[1:]])


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
