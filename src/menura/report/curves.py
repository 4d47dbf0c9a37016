"""Rows at several numbers of shots become curves: one line per system, as CSV and as SVG."""

import csv
import io
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from menura.errors import ConfigError
from menura.report.saved_results import WrittenRow

if TYPE_CHECKING:
    from menura.training.lr_finder import Tried

UNADAPTED, ADAPTED = "un-adapted", "adapted"
LR_COLUMNS = ("lr", "loss", "smoothed")
COLUMNS = ("system", "kind", "metric", "shots", "value", "low", "high", "draws", "deviation")
WIDTH, HEIGHT, LEGEND = 4.6, 3.6, 1.4  # inches: of one metric's picture, and of the legend beside them
BESIDE = 0.012  # of the axis, between neighbouring lines


@dataclass(frozen=True)
class Point:
    """One system at one number of shots: value, its 95 % interval over personas, its deviation over draws."""

    system: str
    kind: str
    metric: str
    shots: int
    value: float
    low: float
    high: float
    draws: int
    deviation: float  # standard deviation over draws of the support; 0 for one draw


def points(rows: Sequence[WrittenRow]) -> list[Point]:
    """Return a point for every row and metric."""
    return [point for row in rows for point in _points(row)]


def _points(row: WrittenRow) -> Iterator[Point]:
    for name, score in row.scores.items():
        drawn = row.by_draw[name]
        deviation = statistics.stdev(drawn) if len(drawn) > 1 and all(map(math.isfinite, drawn)) else 0.0
        yield Point(
            *(row.system, row.kind, name, row.shots, score.value, score.low, score.high),
            *(len(drawn), deviation),
        )


def check_there(found: Sequence[Point], metrics: Sequence[str]) -> None:
    """Raise ConfigError naming the metrics that no row was scored by, or if none is asked for."""
    there = list(dict.fromkeys(point.metric for point in found))
    missing = [name for name in metrics if name not in there]
    if missing or not metrics:
        raise ConfigError(
            f"no row was scored by {', '.join(missing) or 'no metric'}", hint=f"--metrics {','.join(there)}"
        )


def csv_text(found: Sequence[Any], columns: Sequence[str] = COLUMNS) -> str:
    """Return CSV with one line per point (or other object with these fields), numbers in full."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(vars(point) for point in found)
    return text.getvalue()


def svg(found: Sequence[Point], metrics: Sequence[str], titles: Mapping[str, str]) -> str:
    """Return an SVG: a panel per metric, a line per system from un-adapted (K = 0) over its adapted rows.

    Bars are 95 % intervals over personas. The same points give the same bytes. Raises ConfigError without matplotlib.
    """
    with picture(WIDTH * len(metrics) + LEGEND, HEIGHT) as (figure, text):
        for panel, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
            _draw(panel, _lines(found, metric))
            panel.set(xlabel="support dialogues K", title=titles.get(metric, metric))
            panel.grid(alpha=0.3)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    return text.getvalue()


def check_plots() -> None:
    """Raise ConfigError without matplotlib, which is an extra: a table needs none."""
    if find_spec("matplotlib") is None:
        raise ConfigError("curves need matplotlib", hint='pip install "menura[plot]"')


@contextmanager
def picture(width: float, height: float) -> Iterator[tuple[Any, io.StringIO]]:
    """Lend an empty figure, in inches, and the text that is its SVG once the block is over.

    The same drawing gives the same bytes. Raises ConfigError without matplotlib.
    """
    check_plots()
    import matplotlib as mpl  # noqa: PLC0415  # an extra
    from matplotlib.figure import Figure  # noqa: PLC0415

    text = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "menura", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, text
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})


def _draw(panel: Any, lines: Mapping[str, Sequence[Point]]) -> None:
    """Draw lines with their bars, each a little beside the other, so that bars at one K can be told apart."""
    largest = max((point.shots for line in lines.values() for point in line), default=0)
    for number, (system, line) in enumerate(lines.items()):
        beside = (number - (len(lines) - 1) / 2) * BESIDE * max(largest, 1)
        shots = [point.shots + beside for point in line]
        around = [[max(p.value - p.low, 0) for p in line], [max(p.high - p.value, 0) for p in line]]
        panel.errorbar(
            shots, [p.value for p in line], yerr=around, label=system, marker="o", ms=3, lw=1.0, elinewidth=0.7
        )


def _lines(found: Sequence[Point], metric: str) -> dict[str, list[Point]]:
    lines: dict[str, list[Point]] = {}
    for point in sorted(found, key=lambda point: point.shots):
        if point.metric == metric and point.kind in (UNADAPTED, ADAPTED):
            lines.setdefault(point.system, []).append(point)
    return {system: lines[system] for system in dict.fromkeys(point.system for point in found) if system in lines}


def lr_csv(tried: "Sequence[Tried]") -> str:
    """Return CSV with one line per learning rate of a sweep, numbers in full."""
    return csv_text(tried, LR_COLUMNS)


def lr_svg(tried: "Sequence[Tried]", rate: float, title: str) -> str:
    """Return an SVG of a sweep: loss over learning rate, raw and smoothed, and a line at the suggestion."""
    rates = [one.lr for one in tried]
    with picture(WIDTH, HEIGHT) as (figure, text):
        panel = figure.subplots()
        panel.plot(rates, [one.loss for one in tried], lw=0.6, alpha=0.5, label="a step's loss")
        panel.plot(rates, [one.smoothed for one in tried], lw=1.4, label="smoothed")
        panel.axvline(rate, ls="--", lw=0.8, color="black", label=f"suggestion {rate:.1e}")
        panel.set(xscale="log", xlabel="outer.lr", ylabel="NLL per token", title=title)
        panel.legend(fontsize=7)
        panel.grid(alpha=0.3)
    return text.getvalue()
