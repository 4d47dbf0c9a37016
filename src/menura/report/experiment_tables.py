"""Published units of an experiment become its tables, each figure made again from what was gathered of each persona."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain

from menura.errors import DataError
from menura.experiments.experiment import Beside, Experiment, Kind, Table
from menura.metrics import catalogue
from menura.metrics.score import Metric, Score
from menura.metrics.significance import Difference, difference_of_runs, score_of_runs
from menura.report.columns import COLUMNS, NONE
from menura.report.published import PublishedUnit, check_alike, check_scored_alike
from menura.report.table import ARROWS, aligned, cell, legend, signatures_listed, signed_cell

SEED = 0  # of resampling
EXPLAINED = "Where a row has several seeds, figures are the mean over them. "
OF_FIRST = "Columns after the number of seeds are of the first seed. "
PAIRED = (
    "First minus second, on the same personas and seeds. "
    "p: two-sided permutation test over personas, seeds not permuted; the interval decides. "
)
OVER = "personas, and over seeds where a row has several"


@dataclass(frozen=True)
class TableLine:
    """A line of a table: a row, the kind and label of one line of its evaluation, and its seeds."""

    title: str
    row: str
    kind: Kind
    label: str
    units: tuple[PublishedUnit, ...]

    def has(self, metric: str) -> bool:
        """Return whether the line was scored by a metric."""
        return all(unit.has(self.label, metric) for unit in self.units)

    def score(self, metric: str) -> Score:
        """Return the figure over the line's seeds, with its interval; DataError if there is none."""
        return _score(self.units, self.label, metric, self.signature(metric))

    def seeds_with(self, other: "TableLine") -> list[PublishedUnit]:
        """Return this line's units of the seeds that another line has, too."""
        theirs = {unit.seed for unit in other.units}
        return [unit for unit in self.units if unit.seed in theirs]

    def minus(self, other: "TableLine", metric: str) -> Difference:
        """Return this line less another one, over the seeds that both have."""
        theirs = {unit.seed: unit for unit in other.units}
        both = self.seeds_with(other)
        return difference_of_runs(
            _metric(metric),
            [unit.statistics(self.label, metric) for unit in both],
            [theirs[unit.seed].statistics(other.label, metric) for unit in both],
            signatures=(self.signature(metric), other.signature(metric)),
            seed=SEED,
        )

    def beside(self, what: Beside) -> list[str]:
        """Return the cells of the columns that no metric has, of the first seed."""
        unit = self.units[0]
        return COLUMNS[what].cells(unit.line(self.label), unit.origin)

    def signature(self, metric: str) -> str:
        """Return how the metric was computed: all seeds of a line have it in common."""
        return str(self.units[0].score(self.label, metric)["signature"])


@dataclass(frozen=True)
class ExperimentTables:
    """An experiment with the units that are published of it."""

    experiment: Experiment
    units: Sequence[PublishedUnit]

    @cached_property
    def by_row(self) -> Mapping[str, tuple[PublishedUnit, ...]]:
        """The units of each row, seeds in order."""
        rows: dict[str, list[PublishedUnit]] = {}
        for unit in self.units:
            rows.setdefault(unit.row, []).append(unit)
        return {row: tuple(sorted(units, key=lambda unit: unit.seed)) for row, units in rows.items()}

    def markdown(self, table: Table) -> str:
        """Return a table as Markdown, with how each column is computed below it, or which rows it waits for.

        Raises DataError, naming every difference, for rows that do not compare.
        """
        self.check_alike((*table.rows, table.against))
        compared = [name for name in table.rows if name != table.against]
        missing = [name for name in (*compared, *filter(None, (table.against,))) if name not in self.by_row]
        shown = bool(table.paper) and not table.against  # what a paper printed is shown without our figure, too
        if (set(compared) <= set(missing) and not shown) or table.against in missing:
            return f"Not run yet: {', '.join(missing)}."
        return self._differences(table) if table.against else self._scores(table)

    def check_alike(self, rows: Sequence[str]) -> None:
        """Raise DataError, naming every difference, for rows that do not compare, or seeds of one that do not."""
        units = [unit for name in rows for unit in self.by_row.get(name, ())]
        check_alike(units)
        by_flags: dict[tuple[str, ...], list[PublishedUnit]] = {}
        for unit in units:  # rows that are scored otherwise than their neighbours are so on purpose
            by_flags.setdefault(self.experiment.row(unit.row).scored_with, []).append(unit)
        for alike in by_flags.values():
            check_scored_alike(alike)

    def line(self, row: str, kind: Kind) -> TableLine:
        """Return the line of a row and kind, of the largest K. Raises DataError if it was not run."""
        lines = list(self._lines((row,), (kind,)))
        if not lines:
            raise DataError(
                f"{row} has no line {kind!r} in {self.experiment.name}",
                hint=f"menura reproduce {self.experiment.name} --row {row}",
                code="missing",
            )
        return lines[-1]

    def left_out(self) -> list[str]:
        """Return the rows, or seeds of them, that were not run."""
        missing: dict[str, list[int]] = {}
        for row, seed in self.experiment.units():
            if seed not in [unit.seed for unit in self.by_row.get(row.name, ())]:
                missing.setdefault(row.name, []).append(seed)
        return [f"{row} (seed {', '.join(map(str, seeds))})" for row, seeds in missing.items()]

    def _lines(self, rows: Sequence[str], kinds: Sequence[Kind]) -> Iterator[TableLine]:
        for name in rows:
            units = self.by_row.get(name, ())
            for kind in kinds:
                for label in units[0].labels(kind) if units else ():
                    title = self.experiment.row(name).title + (f": {label}" if len(kinds) > 1 else "")
                    yield TableLine(title, name, kind, label, units)

    def _scores(self, table: Table) -> str:
        lines = list(self._lines(table.rows, table.kinds))
        scores = {
            (line.row, line.label): {name: line.score(name) for name in table.metrics if line.has(name)}
            for line in lines
        }
        header = [
            *(
                "system",
                *map(_titled, table.metrics),
                "seeds",
                *chain.from_iterable(COLUMNS[what].titles for what in table.beside),
            ),
            *(f"paper: {name}" for name in table.paper_columns),
        ]
        cells = {
            row: [
                [
                    line.title,
                    *(cell(scores[line.row, line.label].get(name)) for name in table.metrics),
                    str(len(line.units)),
                    *chain.from_iterable(line.beside(what) for what in table.beside),
                    *_printed(table, line),
                ]
                for line in lines
                if line.row == row
            ]
            for row in table.rows
        }
        ours = len(header) - 1 - len(table.paper_columns)
        for row in table.rows:
            if row in table.paper and not cells[row]:
                cells[row] = [[self.experiment.row(row).title, *[NONE] * ours, *table.paper[row]]]
        listed = [
            (line.title, name, scores[line.row, line.label][name], "")
            for name in table.metrics
            for line in lines
            if line.has(name)
        ]
        explained = EXPLAINED + (OF_FIRST if table.beside else "")
        below = legend(signatures_listed(listed), explained, OVER)
        return aligned([header, *chain.from_iterable(cells.values())], left=(0,)) + below

    def _differences(self, table: Table) -> str:
        lines = [line for line in self._lines(table.rows, table.kinds) if line.row != table.against]
        against = {kind: self.line(table.against, kind) for kind in table.kinds}
        pairs = [(line, against[line.kind]) for line in lines]
        compared = [
            {name: ours.minus(theirs, name) for name in table.metrics if ours.has(name) and theirs.has(name)}
            for ours, theirs in pairs
        ]
        titles = [f"{ours.title} − {theirs.title}" for ours, theirs in pairs]
        cells = [
            [title, *(signed_cell(differences.get(name)) for name in table.metrics), str(_seeds_of(*pair))]
            for title, differences, pair in zip(titles, compared, pairs, strict=True)
        ]
        header = ["difference", *map(_titled, table.metrics), "seeds"]
        listed = [
            (title, name, differences[name], "")
            for name in table.metrics
            for title, differences in zip(titles, compared, strict=True)
            if name in differences
        ]
        return aligned([header, *cells], left=(0,)) + legend(signatures_listed(listed), PAIRED, OVER)


@cache  # several pages have the same tables
def _score(units: tuple[PublishedUnit, ...], label: str, metric: str, signature: str) -> Score:
    runs = [unit.statistics(label, metric) for unit in units]
    return score_of_runs(_metric(metric), runs, signature=signature, seed=SEED)


def _printed(table: Table, line: TableLine) -> tuple[str, ...]:
    """Return what the paper printed for a line: for this kind of the row, or for the row."""
    of_row = table.paper.get(line.row, (NONE,) * len(table.paper_columns))
    return table.paper.get(f"{line.row}: {line.kind}", of_row)


def _seeds_of(ours: TableLine, theirs: TableLine) -> int:
    return len({unit.seed for unit in ours.units} & {unit.seed for unit in theirs.units})


def _metric(name: str) -> Metric:
    return catalogue.named((name,))[0]


def _titled(name: str) -> str:
    return f"{name} {ARROWS[_metric(name).better]}"
