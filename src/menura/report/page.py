"""A page's blocks are made from published units: tables, conditions and single figures; what is typed is kept.

A page has blocks between comments, which no reader of the page sees::

    <!-- table cmaml/scores -->
    …
    <!-- end -->

    … falls by <!-- figure cmaml cmaml_seq2spg adapted ppl -->93.2 [85.3, 101.6]<!-- end --> …

There are ``table EXPERIMENT/TABLE``, ``conditions EXPERIMENT``, ``figure EXPERIMENT ROW KIND METRIC``,
``difference EXPERIMENT ROW KIND ROW KIND METRIC``, the first less the second, ``verdict`` with the same words, on the
claim that the first is better, and ``replies EXPERIMENT ROW KIND``, some replies drawn by a seed.

Of what a command printed and was kept (``report.outputs``) there are ``output NAME``, all of it, ``output NAME N``, its
table number N, ``output NAME conditions``, ``output NAME replies``, those that an evaluation has drawn,
``cell NAME / ROW / COLUMN``, ``change NAME / ROW / OTHER ROW / COLUMN``, the per cent between two rows, and
``command NAME``, what was typed, and the commit.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from menura.errors import DataError, MenuraError, Problem, number_of
from menura.experiments.catalogue import experiment
from menura.metrics import catalogue
from menura.metrics.significance import Difference
from menura.report import outputs
from menura.report.experiment_tables import ExperimentTables, TableLine
from menura.report.published import PublishedUnit, read
from menura.report.published_commands import outdated
from menura.report.table import cell, signed_cell

DATA = "data"  # the folder beside the page with a folder for each experiment
WORDS = {"table": 1, "conditions": 1, "figure": 4, "difference": 6, "verdict": 6, "replies": 3}  # of each kind of block
OF_OUTPUTS = ("output", "cell", "change", "command")
BETWEEN = " / "  # the words of a cell
OF_LINES = ("table", "conditions", "replies", "output")  # blocks that stand on lines of their own
BLOCK = re.compile(rf"<!-- ({'|'.join((*WORDS, *OF_OUTPUTS))}) ([^>]*?) -->(.*?)<!-- end -->", re.DOTALL)
NOT_RUN = "not run yet"


@dataclass(frozen=True)
class Differing:
    """A block of a page that is not what the published units give."""

    line: int
    block: str
    written: str
    made: str


def rendered(text: str, folder: Path) -> str:
    """Return a page with all its blocks made again. Raises DataError for every block that cannot be made."""
    maker = _Maker(folder)
    made = BLOCK.sub(lambda match: maker.block(text, match), text)
    if maker.problems:
        raise DataError.of(maker.problems)
    return made


def verified(text: str, folder: Path) -> list[Differing]:
    """Return the blocks of a page that are not what its published units give, with what they would be."""
    made = rendered(text, folder)
    pairs = zip(BLOCK.finditer(text), BLOCK.finditer(made), strict=True)
    return [
        Differing(text.count("\n", 0, old.start()) + 1, f"{old[1]} {old[2]}", old[3].strip(), new[3].strip())
        for old, new in pairs
        if old[0] != new[0]
    ]


def experiments_of(text: str) -> list[str]:
    """Return the experiments that a page's blocks name, in order."""
    names = [match[2].split()[0].split("/")[0] for match in BLOCK.finditer(text) if match[1] in WORDS]
    return list(dict.fromkeys(names))


class _Maker:
    """Makes blocks; the units of an experiment are read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / DATA
        self._read: dict[str, ExperimentTables] = {}
        self.problems: list[Problem] = []

    def block(self, text: str, match: "re.Match[str]") -> str:
        kind, words = match[1], match[2].split()
        opening, end = f"<!-- {kind} {match[2]} -->", "<!-- end -->"
        try:
            made = self._printed(kind, match[2]) if kind in OF_OUTPUTS else self._made(kind, words)
        except MenuraError as error:  # a name that is none is a ConfigError
            line = text.count("\n", 0, match.start()) + 1
            self.problems += [
                Problem(p.code, f"line {line}, {opening}: {p.message}", p.place, p.hint) for p in error.problems
            ]
            return match[0]
        return f"{opening}\n{made.strip()}\n{end}" if kind in OF_LINES else f"{opening}{made}{end}"

    def _made(self, kind: str, words: list[str]) -> str:
        wanted = WORDS[kind]
        if len(words) != wanted:
            raise DataError(f"{wanted} words wanted, not {len(words)}", code="block")
        name, _, table = words[0].partition("/")
        tables = self._tables(name)
        if kind == "table":
            return tables.markdown(tables.experiment.table(table))
        if kind == "conditions":
            return conditions(tables)
        rows = [words[1], words[3]] if wanted == WORDS["difference"] else [words[1]]
        if any(tables.experiment.row(row).name not in tables.by_row for row in rows):
            return f"{tables.experiment.row(words[1]).title}: {NOT_RUN}." if kind == "replies" else NOT_RUN
        tables.check_alike(rows)
        line = tables.line(words[1], _kind(words[2]))
        if kind == "replies":
            return replies(line)
        if kind == "figure":
            return cell(line.score(words[3]))
        other = tables.line(words[3], _kind(words[4]))
        difference = line.minus(other, words[5])
        if kind == "difference":
            return signed_cell(difference)
        return verdict(difference, words[5]) + ("; one seed" if len(line.seeds_with(other)) == 1 else "")

    def _printed(self, kind: str, what: str) -> str:
        name, *words = what.split(BETWEEN) if kind in ("cell", "change") else what.split()
        output = outputs.read(name.strip(), self._folder)
        match kind, words:
            case "command", []:
                return output.origin
            case "output", []:
                return output.text
            case "output", ["conditions"]:
                return output.conditions
            case "output", ["replies"]:
                return "\n\n".join(_quoted(label, drawn) for label, drawn in output.replies.items())
            case "output", [number] if number.isdigit():
                return output.table(int(number))
            case "cell", [*row, column] if row:
                return output.cell(row, column)
            case "change", [row, base, column]:
                return output.change([row], [base], column)
        wanted = {"cell": "cell NAME / ROW / COLUMN", "change": "change NAME / ROW / OTHER ROW / COLUMN"}
        raise DataError(f"{wanted.get(kind, f'{kind} NAME')} wanted", code="block")

    def _tables(self, name: str) -> ExperimentTables:
        if name not in self._read:
            tables = ExperimentTables(experiment(name), read(self._folder / name))
            if problems := outdated(tables.experiment, tables.units):
                raise DataError.of(problems)
            self._read[name] = tables
        return self._read[name]


def _kind(word: str) -> Any:
    return word.replace("_", " ")


def conditions(tables: ExperimentTables) -> str:
    """Return how an experiment was run: its rule, commands, data, code, length of training, and what was left out."""
    units = [unit for units in tables.by_row.values() for unit in units]
    if not units:
        return "Nothing of it has been run yet."
    first = units[0]
    about: Mapping[str, str] = first.content["evaluation"]["about"]
    size = first.content["size"]
    commits = sorted({unit.origin["commit"] for unit in units} | _trained_at(units))
    lines = [
        f"- Question: {tables.experiment.question}",
        f"- Rule, set before the first run: {tables.experiment.rule}",
        f"- Budget: {tables.experiment.core_hours:g} hours of one core; when it is spent, the last rows are left out",
        f"- Command: `menura reproduce {tables.experiment.name} --size {size}`, then `menura report PAGE`",
        f"- Data: {about['data']}; split {about['split']}",
        f"- Scored: {about['query']}" + (f"; {about['replies']}, {about['decoding']}" if "replies" in about else ""),
        f"- Code: the same in all rows; commits {', '.join(commits)}",
        f"- Versions: {about['environment']}",
        f"- Memory: {_memory(units)}",
        "- Trained: " + "; ".join(_trained(row, units) for row, units in tables.by_row.items()),
    ]
    if rates := "; ".join(_rates(units[0]) for units in tables.by_row.values() if units[0].content.get("rates")):
        lines.append(f"- Learning rates tried, with the loss of validation personas: {rates}")
    if left_out := tables.left_out():
        lines.append(f"- Not run: {', '.join(left_out)}")
    return "\n".join(lines)


def _memory(units: Sequence[PublishedUnit]) -> str:
    """Return the highest peaks of evaluations, and of those trainings that have noted theirs."""
    peaks = {
        "scoring": [unit.origin["peak_memory"] for unit in units],
        "training": [unit.content["run"]["peak_memory"] for unit in units if "peak_memory" in unit.content["run"]],
    }
    return ", ".join(f"{what} at most {max(most) / 1e9:.1f} GB" for what, most in peaks.items() if most)


def verdict(difference: Difference, metric: str) -> str:
    """Return whether a row is better than another one, by the sign and interval of their difference, and the power.

    The power is half the width of the interval: of a difference so large the interval would have excluded 0.
    """
    sign = -1 if catalogue.named((metric,))[0].better == "lower" else 1
    low, high = sorted((sign * difference.low, sign * difference.high))
    shown = signed_cell(difference)
    if low > 0:
        return f"reproduced: {shown}"
    if high < 0:
        return f"the opposite: {shown}"
    return f"not reproduced: {shown}; a difference of {format((high - low) / 2, '.2g')} would have shown"


def replies(line: TableLine) -> str:
    """Return the replies that were drawn of a line's first seed; those that are turns of the corpus are not shown."""
    return _quoted(line.title, line.units[0].line(line.label).get("drawn_replies", []))


def _quoted(title: str, drawn: Sequence[str | None]) -> str:
    shown = [f"- “{reply}”" if reply else "- (empty)" for reply in drawn if reply is not None]
    if hidden := len(drawn) - len(shown):
        shown.append(f"- {number_of(hidden, 'more reply')} drawn, word for word a turn of the corpus: not shown")
    return "\n".join([f"{title}:", "", *shown])


def _rates(unit: PublishedUnit) -> str:
    tried = (
        f"{rate} {'diverged' if loss is None else format(loss, '.3f')}" for rate, loss in unit.content["rates"].items()
    )
    return f"{unit.row} {', '.join(tried)}"


def _trained_at(units: Any) -> set[str]:
    return {entry["commit"] for unit in units for entry in unit.content["run"]["code"]}


def _trained(row: str, units: Any) -> str:
    run = units[0].content["run"]
    if "steps" not in run:
        return f"{row} as it is"
    return f"{row} {run['steps']} steps, {run['tokens']:,} tokens"
