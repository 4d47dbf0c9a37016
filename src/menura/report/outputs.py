"""What a command printed is kept beside the pages, with the command and its commit, and shown as it was printed.

Experiments have rows that are trained, scored and compared; a benchmark, or an evaluation of its own, prints a table.
Kept outputs let a page show such a table, and name its cells, without anybody typing them.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from menura.artefacts.code_path import commit
from menura.artefacts.files import read_json, write_json
from menura.corpus.atomic_files import reporting
from menura.errors import DataError, shown
from menura.report.published import sha256_of

FOLDER = "outputs"  # in the folder of published data
TABLE, SCORES = "table.md", "scores.json"  # in the folder of an evaluation
RULE = re.compile(r"\|[\s:|-]+\|")  # the line below a table's head
CONDITION = re.compile(r"[a-z][a-z ]*: ")
NUMBER = re.compile(r"[-−+]?\d+(\.\d+)?")
DIRECTIONS = " ↓↑"  # behind a metric's name
TYPED = re.compile(r"\$ (?P<command>.*?)(?: \(commit (?P<commit>\w+\+?)\))?")  # the first line of a file


@dataclass(frozen=True)
class Output:
    """What a command printed, at a commit; of an evaluation, the replies that were drawn of each line, too."""

    path: Path
    command: str
    commit: str
    text: str
    replies: Mapping[str, Sequence[str | None]] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """The command and the commit, as a page names them."""
        return f"`{self.command}` (commit {self.commit})"

    @property
    def tables(self) -> list[str]:
        """The Markdown tables in it, in order."""
        found: list[list[str]] = []
        inside = False
        for line in self.text.splitlines():
            row = line.startswith("|")
            if row and not inside:
                found.append([])
            if row:
                found[-1].append(line)
            inside = row
        return ["\n".join(lines) for lines in found]

    def table(self, number: int) -> str:
        """Return a table, the first one being number 1; DataError if there is none of this number."""
        if not 1 <= number <= len(self.tables):
            raise DataError(f"table {number} of {len(self.tables)}", place=str(self.path), code="missing")
        return self.tables[number - 1]

    @property
    def conditions(self) -> str:
        """The lines ``name: value`` behind the last table, as a list."""
        lines = self.text.splitlines()
        last = max((place for place, line in enumerate(lines) if line.startswith("|")), default=-1)
        return "\n".join(f"- {line}" for line in lines[last + 1 :] if CONDITION.match(line))

    def change(self, row: Sequence[str], base: Sequence[str], column: str) -> str:
        """Return by how many per cent the figure of a row is above or below that of another one in the same column.

        Raises DataError as ``cell``, and where a cell does not begin with a number.
        """
        numbers = [NUMBER.match(self.cell(one, column)) for one in (row, base)]
        if not all(numbers):
            raise DataError(f"no numbers in column {shown(column)}", place=str(self.path), code="missing")
        ours, theirs = (float(number[0].replace("−", "-")) for number in numbers if number)
        return f"{100 * (ours / theirs - 1):+.1f} %".replace("-", "−")

    def cell(self, row: Sequence[str], column: str) -> str:
        """Return the cell of the row that begins with these cells, in the column of this name.

        Raises DataError where no table has such a cell, or several have different ones.
        """
        found = {
            cells[head.index(column)]
            for head, body in map(_parsed, self.tables)
            for cells in body
            if column in head and cells[: len(row)] == list(row)
        }
        if len(found) != 1:
            what = f"{len(found)} cells of {shown(' / '.join(row))}, column {shown(column)}; 1 wanted"
            raise DataError(what, place=str(self.path), code="missing")
        return found.pop()


def keep(source: Path, name: str, data: Path) -> Path:
    """Keep what a command printed under a name, in a folder of published data; return the file's path.

    ``source`` is the folder of an evaluation, or a text file whose first line is the command, behind ``$``, and where
    this is not the code that printed it, the commit: ``$ make bench (commit 84f1204)``. Raises DataError for a file
    without that line.
    """
    if source.is_dir():
        scores = read_json(source / SCORES)
        origin: Mapping[str, Any] = scores["origin"]
        drawn = {row["label"]: row["drawn_replies"] for row in scores["rows"] if row.get("drawn_replies")}
        words, out = list(origin["words"]), "--out"
        if out in words:  # where it was written is of no interest elsewhere
            del words[words.index(out) : words.index(out) + 2]
        command, at, text = shlex.join(["menura", *words]), str(origin["commit"]), _read_text(source / TABLE)
    else:
        drawn = {}
        first, _, text = _read_text(source).partition("\n")
        typed = TYPED.fullmatch(first.strip())
        if typed is None:
            hint = "write the command into the first line, behind $"
            raise DataError("no command in the first line", place=str(source), hint=hint, code="no_command")
        command, at = typed["command"], typed["commit"] or commit()
    content = {"command": command, "commit": at, "text": text.strip(), **({"replies": drawn} if drawn else {})}
    path = data / FOLDER / f"{name}.json"
    write_json(path, {**content, "sha256": sha256_of(content)})
    return path


def read(name: str, data: Path) -> Output:
    """Return what was kept under a name. Raises DataError if nothing was, and if it was changed since."""
    path = data / FOLDER / f"{name}.json"
    if not path.exists():
        hint = f"menura report PAGE --output {name}=FILE keeps what a command printed"
        raise DataError(f"no output is called {shown(name)}", place=str(path), hint=hint, code="missing")
    content = read_json(path)
    if content.pop("sha256", "") != sha256_of(content):
        raise DataError("it was changed after it was written: its hash differs", place=str(path), code="edited")
    return Output(path, content["command"], content["commit"], content["text"], content.get("replies", {}))


def _read_text(path: Path) -> str:
    with reporting(path):
        return path.read_text(encoding="utf-8")


def _parsed(table: str) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of a Markdown table, cells without blanks, metrics without their direction."""
    lines = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in _without_rule(table)]
    return [name.rstrip(DIRECTIONS) for name in lines[0]], lines[1:]


def _without_rule(table: str) -> Iterator[str]:
    return (line for line in table.splitlines() if not RULE.fullmatch(line.strip()))
