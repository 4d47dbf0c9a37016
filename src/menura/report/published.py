"""The scores of a unit become one small file beside the pages, and are read back, checked.

It has what was typed, all settings, hashes of code and data, the scores, and what each metric gathered of each persona:
enough to make every figure again. No text of a data set is in it.
"""

import gzip
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from menura.artefacts.code_path import differing
from menura.artefacts.files import read_json, write_bytes
from menura.artefacts.runs import runs_folder
from menura.corpus.atomic_files import reporting
from menura.errors import DataError, Problem
from menura.experiments.commands import Unit
from menura.metrics.significance import RunStatistics
from menura.metrics.statistics_json import from_json
from menura.report.results import STATISTICS
from menura.training.config import differences

SUFFIX = ".json.gz"
RUNS = "$MENURA_RUNS"  # in the place of this machine's folder
SHARED_SOURCES = ("split_sha256",)  # of the data that all rows of an experiment have
TRACE = "metrics.jsonl"
AGAIN = "run the older rows again: menura reproduce"


@dataclass(frozen=True)
class PublishedUnit:
    """One row with one seed, as written; ``sha256`` is of the content, by which two units are told apart."""

    path: Path
    row: str
    seed: int
    content: Mapping[str, Any] = field(compare=False)
    sha256: str = ""

    @property
    def code(self) -> list[Mapping[str, str]]:
        """The code paths of the training, one for each stretch of it, and of the evaluation."""
        return [entry["code"] for entry in (*self.content["run"]["code"], self.content["evaluation"]["origin"])]

    @property
    def origin(self) -> Mapping[str, Any]:
        """The evaluation's command, settings, and hashes of code and data."""
        origin: Mapping[str, Any] = self.content["evaluation"]["origin"]
        return origin

    def statistics(self, label: str, metric: str) -> RunStatistics:
        """Return what a metric gathered on a line of the evaluation; DataError if it has no such line or metric."""
        for line in self.content["statistics"]:
            if line["label"] == label and metric in line["metrics"]:
                written = line["metrics"][metric]
                return RunStatistics(tuple(written["personas"]), from_json(written["gathered"]), written["samples"])
        labels = ", ".join(line["label"] for line in self.content["statistics"])
        raise DataError(f"no {metric} of {label!r}; its lines: {labels}", place=str(self.path), code="missing")

    def has(self, label: str, metric: str) -> bool:
        """Return whether a line of the evaluation was scored by a metric."""
        return any(line["label"] == label and metric in line["metrics"] for line in self.content["statistics"])

    def labels(self, kind: str) -> list[str]:
        """Return the labels of the lines of a kind: one for each K."""
        return [row["label"] for row in self.content["evaluation"]["rows"] if row["kind"] == kind]

    def line(self, label: str) -> Mapping[str, Any]:
        """Return a line of the evaluation: its cost, the distances of adapted weights, the persona masks."""
        (row,) = [row for row in self.content["evaluation"]["rows"] if row["label"] == label]
        written: Mapping[str, Any] = row
        return written

    def score(self, label: str, metric: str) -> Mapping[str, Any]:
        """Return a score as the evaluation wrote it; DataError if it is not there."""
        for row in self.content["evaluation"]["rows"]:
            if row["label"] == label and metric in row["scores"]:
                score: Mapping[str, Any] = row["scores"][metric]
                return score
        raise DataError(f"no {metric} of {label!r}", place=str(self.path), code="missing")


def publish(unit: Unit, folder: Path) -> Path:
    """Write a scored unit's file into a folder; return its path."""
    content = {
        "row": unit.row.name,
        "seed": unit.seed,
        "size": unit.size,
        "run": _run(unit),
        "rates": {f"{rate:g}": loss for rate, loss in unit.validation_losses.items()},
        "evaluation": read_json(unit.evaluation / "scores.json"),
        "statistics": read_json(unit.evaluation / STATISTICS),
    }
    text = json.dumps(content, ensure_ascii=False, sort_keys=True).replace(str(runs_folder()), RUNS)
    content = json.loads(text)
    whole = json.dumps({**content, "sha256": sha256_of(content)}, ensure_ascii=False, sort_keys=True)
    path = folder / f"{unit.row.name}-{unit.seed}{SUFFIX}"
    write_bytes(path, gzip.compress(whole.encode(), mtime=0))
    return path


def read(folder: Path) -> list[PublishedUnit]:
    """Return the units of an experiment's folder. Raises DataError for every file that is damaged or was edited."""
    units, problems = [], []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            units.append(_read(path))
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError.of(problems)
    return units


def check_scored_alike(units: Sequence[PublishedUnit]) -> None:
    """Raise DataError, naming every difference, unless units were scored with the same options of the evaluation."""
    problems = []
    for unit in units[1:]:
        first, other = (each.origin.get("evaluation", {}) for each in (units[0], unit))
        problems += [
            Problem("not_alike", f"{units[0].row} against {unit.row}: {line}", str(unit.path), AGAIN)
            for line in differences(first, other)
        ]
    if problems:
        raise DataError.of(problems)


def check_alike(units: Sequence[PublishedUnit]) -> None:
    """Raise DataError, naming every difference, unless units have the same code, the same data, and seeds alike."""
    if not units:
        return
    problems = [
        Problem("code_differs", f"rows were computed with different code of {module}", _place(units), AGAIN)
        for module in differing([code for unit in units for code in unit.code])
    ]
    first = units[0]
    for unit in units[1:]:
        ours, theirs = _compared(first), _compared(unit)
        problems += [
            Problem("not_alike", f"{first.row} seed {first.seed} against {unit.row}: {line}", str(unit.path), AGAIN)
            for line in differences(ours, theirs)
        ]
    problems += _differing_seeds(units)
    if problems:
        raise DataError.of(problems)


def _differing_seeds(units: Sequence[PublishedUnit]) -> list[Problem]:
    """Return a problem for each setting in which two seeds of a row differ, but for the seed."""
    first: dict[str, PublishedUnit] = {}
    problems = []
    for unit in units:
        other = first.setdefault(unit.row, unit)
        for line in differences(_but_seed(other), _but_seed(unit)):
            problems.append(Problem("settings_differ", f"seeds of {unit.row}: {line}", str(unit.path), AGAIN))
    return problems


def _but_seed(unit: PublishedUnit) -> dict[str, Any]:
    settings = dict(unit.origin["settings"])
    settings.pop("seed", None)
    settings["model"] = {name: value for name, value in settings["model"].items() if name != "init_from"}
    return settings


def _compared(unit: PublishedUnit) -> dict[str, Any]:
    """Return what all rows of an experiment have alike: whom they score, and on which split of the data."""
    sources = {name: unit.origin["sources"][name] for name in SHARED_SOURCES}
    return {"size": unit.content["size"], "personas": unit.origin["personas_sha256"], **sources}


def _place(units: Sequence[PublishedUnit]) -> str:
    return str(units[0].path.parent)


def _run(unit: Unit) -> dict[str, Any]:
    """Return the training's settings, hashes, code and length; empty parts for a row that only scores a recipe."""
    if not unit.row.trains:
        return {"code": []}
    trace = (unit.run / TRACE).read_text(encoding="utf-8").splitlines()
    steps = [entry for line in trace if "tokens" in (entry := json.loads(line))]
    peak = read_json(unit.run / "STATUS.json").get("peak_memory")  # earlier versions noted none
    return {
        **({"peak_memory": peak} if peak else {}),
        **read_json(unit.run / "run.json"),
        "code": read_json(unit.run / "code.json"),
        "environment": read_json(unit.run / "env.json"),
        "words": (unit.run / "command.txt").read_text(encoding="utf-8").split()[1:],
        "steps": len(steps),
        "tokens": round(sum(entry["tokens"] for entry in steps)),
    }


def _read(path: Path) -> PublishedUnit:
    try:
        with reporting(path):
            content = json.loads(gzip.decompress(path.read_bytes()))
        written = content.pop("sha256")
    except (ValueError, EOFError, gzip.BadGzipFile, KeyError, AttributeError) as error:
        raise DataError(f"damaged: {error!r}", place=str(path), code="damaged") from error
    if written != sha256_of(content):
        hint = "menura report writes it again from the run"
        raise DataError(
            "it was changed after it was written: its hash differs", place=str(path), hint=hint, code="edited"
        )
    return PublishedUnit(path, content["row"], content["seed"], content, written)


def sha256_of(content: Mapping[str, Any]) -> str:
    """Return the hash of plain data, whatever the order of its names."""
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()
