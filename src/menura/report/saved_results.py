"""Results written by ``menura eval`` become rows again, each with the system it is of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from menura.artefacts.files import read_json
from menura.errors import DataError
from menura.metrics.score import Score
from menura.report.table import TableRow


@dataclass(frozen=True)
class WrittenRow:
    """One row of one system's evaluation; ``by_draw`` holds each metric's value of each draw of the support."""

    system: str
    kind: str
    shots: int
    scores: Mapping[str, Score]
    by_draw: Mapping[str, Sequence[float]]
    notes: str

    @property
    def label(self) -> str:
        """The name of the row within its system."""
        return self.kind + (f", K={self.shots}" if self.shots else "")

    def as_row(self) -> TableRow:
        """Return it as a row of a table over several systems."""
        return TableRow(f"{self.system}: {self.label}", self.scores, self.notes)


def read(folder: Path) -> tuple[list[WrittenRow], Mapping[str, str]]:
    """Return the rows of an evaluation's folder, and the evaluation's conditions; DataError if it has none.

    The system's name is the folder's.
    """
    path = folder / "scores.json"
    if not path.exists():
        raise DataError(
            "no scores.json here", place=str(folder), hint=f"menura eval RUN --out {quote(str(folder.parent))}"
        )
    found = read_json(path)
    try:
        return [_row(folder.name, row) for row in found["rows"]], dict(found["about"])
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"not what menura eval writes ({error!r})", place=str(path), code="schema") from error


def _row(system: str, row: Mapping[str, Any]) -> WrittenRow:
    scores = {name: Score(**{**score, **_numbers(score)}) for name, score in row["scores"].items()}
    drawn = {name: [_number(value) for value in values] for name, values in row["by_draw"].items()}
    return WrittenRow(system, str(row["kind"]), int(row["shots"]), scores, drawn, str(row["notes"]))


def _numbers(score: Mapping[str, Any]) -> dict[str, float]:
    return {name: _number(score[name]) for name in ("value", "low", "high")}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
