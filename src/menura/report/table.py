"""Tables of scores and of differences, as Markdown that also reads well as plain text, as CSV and as JSON."""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from menura.metrics.score import Score
from menura.metrics.significance import Difference

ARROWS = {"lower": "↓", "higher": "↑"}
MISSING = "–"  # this row was not scored by this metric
UNKNOWN = "n/a"  # scored, without a result

_DECIMALS = {"%": 1, "share": 3, "small share": 5, "bits": 3}  # small ones: AR's tables begin at 0.00017
_COLUMNS = ("label", "metric", "value", "low", "high", "unit", "better", "personas", "samples", "signature", "notes")


@dataclass(frozen=True)
class TableRow:
    """One system and its scores by metric name; ``notes`` say what a reader must know to compare it."""

    label: str
    scores: Mapping[str, Score]
    notes: str = ""


@dataclass(frozen=True)
class DifferenceRow:
    """The differences of two systems, by metric name."""

    ours: str
    theirs: str
    differences: Mapping[str, Difference]


class Figure(Protocol):
    """A cell of either table: a value and its interval over personas."""

    @property
    def metric(self) -> str:
        """The metric's name."""

    @property
    def value(self) -> float:
        """The figure."""

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval."""

    @property
    def high(self) -> float:
        """The upper end of the 95 % interval."""

    @property
    def unit(self) -> str:
        """The unit; it decides the digits shown."""

    @property
    def better(self) -> str:
        """``lower`` or ``higher``; decides the arrow."""

    @property
    def personas(self) -> int:
        """The number of personas."""

    @property
    def signature(self) -> str:
        """The signature: two figures are comparable if it is equal."""


def markdown(rows: Sequence[TableRow]) -> str:
    """Return the table, columns in the order metrics first appear, and below it what each column counts.

    A metric whose rows differ in signature or in personas is listed once per kind with its rows' labels: those rows
    are not comparable.
    """
    metrics = _columns(row.scores for row in rows)
    noted = any(row.notes for row in rows)
    header = ["system", *metrics.values(), *(["notes"] if noted else [])]
    lines = [
        [row.label, *(cell(row.scores.get(name)) for name in metrics), *([row.notes or " "] if noted else [])]
        for row in rows
    ]
    listed = [(row.label, name, row.scores[name]) for name in metrics for row in rows if name in row.scores]
    below = signatures_listed((label, name, figure, f", {figure.samples} replies") for label, name, figure in listed)
    return aligned([header, *lines], left=(0, len(header) - 1) if noted else (0,)) + legend(below)


def differences_markdown(rows: Sequence[DifferenceRow]) -> str:
    """Return one line per pair of systems, each difference with its interval and p, signed."""
    metrics = _columns(row.differences for row in rows)
    lines = [
        [f"{row.ours} − {row.theirs}", *(signed_cell(row.differences.get(name)) for name in metrics)] for row in rows
    ]
    below = signatures_listed(
        (f"{row.ours} − {row.theirs}", name, row.differences[name], "")
        for name in metrics
        for row in rows
        if name in row.differences
    )
    explained = "First minus second on the same personas; p: two-sided permutation test over personas. "
    return aligned([["difference", *metrics.values()], *lines], left=(0,)) + legend(below, explained)


def csv_text(rows: Sequence[TableRow]) -> str:
    """Return one line per row and metric, numbers in full."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        for score in row.scores.values():
            writer.writerow({"label": row.label, "notes": row.notes, **asdict(score)})
    return text.getvalue()


def json_text(rows: Sequence[TableRow]) -> str:
    """Return the rows as JSON, numbers in full; ``null`` for a number that is none or not finite."""
    shown = [{"label": row.label, "notes": row.notes, "scores": _plain(row.scores)} for row in rows]
    return json.dumps({"rows": shown}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    return {name: {key: _finite(value) for key, value in asdict(score).items()} for name, score in scores.items()}


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _columns(rows: Iterable[Mapping[str, Figure]]) -> dict[str, str]:
    """Return the column titles by metric name, in order of first appearance."""
    titles: dict[str, str] = {}
    for row in rows:
        for name, figure in row.items():
            titles.setdefault(name, f"{name} {ARROWS[figure.better]}")
    return titles


def cell(score: Score | None) -> str:
    """Return a score with its interval, as a table shows it."""
    if score is None:
        return MISSING
    places = _decimals(score.unit, score.value)
    return f"{_number(score.value, places)}{_interval(score, places)}"


def signed_cell(difference: Difference | None) -> str:
    """Return a difference with its sign, interval and p, as a table shows it."""
    if difference is None:
        return MISSING
    places = _decimals(difference.unit, difference.value)
    shown = f"{_number(difference.value, places, signed=True)}{_interval(difference, places, signed=True)}"
    return shown if math.isnan(difference.p) else f"{shown} p={difference.p:.3f}"


def _interval(figure: Figure, places: int, *, signed: bool = False) -> str:
    # One persona, or none, cannot say how much personas differ; an interval of width 0 would look like certainty.
    if figure.personas < 2 or math.isnan(figure.low):
        return ""
    return f" [{_number(figure.low, places, signed=signed)}, {_number(figure.high, places, signed=signed)}]"


def _decimals(unit: str, value: float) -> int:
    """Return the number of decimals: perplexities keep about three digits, other units a fixed number."""
    if unit in _DECIMALS:
        return _DECIMALS[unit]
    return 2 if abs(value) < 10 else 1 if abs(value) < 1000 else 0


def _number(value: float, places: int, *, signed: bool = False) -> str:
    if math.isnan(value):
        return UNKNOWN
    text = f"{value:+.{places}f}" if signed else f"{value:.{places}f}"
    if not any(digit in text for digit in "123456789") and math.isfinite(value):
        text = text.lstrip("+-")  # nothing is neither more nor less
    return text.replace("-", "−")


def signatures_listed(figures: Iterable[tuple[str, str, Figure, str]]) -> Iterator[str]:
    """Yield a line per metric and signature; more than one for a metric means its rows cannot be compared."""
    kinds: dict[str, dict[str, list[str]]] = {}
    for label, name, figure, more in figures:
        people = "1 persona" if figure.personas == 1 else f"{figure.personas} personas"
        kind = f"`{figure.signature}` ({figure.unit}; {people}{more})"
        kinds.setdefault(name, {}).setdefault(kind, []).append(label)
    for name, labels in kinds.items():
        for kind, rows in labels.items():
            yield f"- {name}: {kind}{' only ' + ', '.join(map(_safe, rows)) if len(labels) > 1 else ''}"


def legend(listed: Iterable[str], explained: str = "", over: str = "personas") -> str:
    """Return what stands below a table: arrows, brackets, over what intervals are, and how each column is computed."""
    intro = f"↓ lower is better, ↑ higher is better. {explained}In brackets: 95 % interval over {over}."
    return "\n".join(["", intro, "", *listed, ""])


def aligned(lines: Sequence[Sequence[str]], *, left: Sequence[int]) -> str:
    """Return a Markdown table padded to equal columns; the columns named in ``left`` start at the left."""
    cells = [[_safe(cell) for cell in line] for line in lines]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * width if index in left else "-" * (width - 1) + ":" for index, width in enumerate(widths)]
    padded = [
        [
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in cells
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in [padded[0], rule, *padded[1:]])


def _safe(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")
