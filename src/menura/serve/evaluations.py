"""Evaluations that ``menura eval`` and ``menura demo`` wrote become tables that a page shows."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from menura.artefacts.files import home, read_json
from menura.artefacts.runs import runs_folder
from menura.errors import DataError, MenuraError
from menura.serve.database.chats import unknown

SCORES, MOST = "scores.json", 1000  # folders that are listed at most
DEEPEST = 6  # levels of folders below that of runs
ABOUT = ("base", "method", "data", "split", "decoding", "perplexity", "precision")
SCORE = ("value", "low", "high", "unit", "better", "personas", "samples", "signature")
DIFFERENCE = ("value", "low", "high", "p", "better", "unit")


def evaluations() -> list[dict[str, Any]]:
    """Return all evaluations, the latest first: ``id``, ``name``, ``made`` in seconds since 1970, and what of."""
    found = [_listed(folder, name) for folder, name in _folders()]
    return sorted(found, key=lambda one: (-one["made"], one["name"]))


def table_of(evaluation: str) -> dict[str, Any]:
    """Return one evaluation: its conditions, its metrics in order, a row a system, and the paired differences.

    Raises ConfigError ``not_found`` for an id that is none, DataError for a file that another program wrote.
    """
    folder, name = next(((one, name) for one, name in _folders() if _id(name) == evaluation), (None, ""))
    if folder is None:
        raise unknown("run")
    path = folder / SCORES
    written = read_json(path)
    try:
        rows = [
            {"label": str(row["label"]), "notes": str(row["notes"]), "scores": _each(row["scores"], SCORE)}
            for row in written["rows"]
        ]
        differences = [
            {"ours": str(one["ours"]), "theirs": str(one["theirs"]), "scores": _each(one["differences"], DIFFERENCE)}
            for one in written.get("differences") or ()
        ]
        about = {str(key): str(value) for key, value in written["about"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError("not what menura eval writes", place=str(path), code="schema") from error
    metrics = list(dict.fromkeys(metric for row in rows for metric in row["scores"]))
    return {**_listed(folder, name), "about": about, "metrics": metrics, "rows": rows, "differences": differences}


def _folders() -> Iterator[tuple[Path, str]]:
    """Yield the folders with scores, and what each is called: its path below the folder of runs."""
    demo, runs = home() / "demo", runs_folder()
    if (demo / SCORES).is_file():
        yield demo, "demo"
    count = 0
    for place, folders, files in os.walk(runs):
        below = Path(place).relative_to(runs)
        folders[:] = sorted(folders) if len(below.parts) < DEEPEST else []
        if SCORES in files:
            yield Path(place), below.as_posix()
            count += 1
        if count >= MOST:
            return


def _listed(folder: Path, name: str) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": _id(name), "name": name, "made": 0.0, "about": {}, "systems": 0}
    try:
        facts["made"] = (folder / SCORES).stat().st_mtime
        written = read_json(folder / SCORES)
        facts["about"] = {key: str(written["about"][key]) for key in ABOUT if key in written["about"]}
        facts["systems"] = len(written["rows"])
    except (MenuraError, OSError, KeyError, TypeError):
        facts["error"] = "not what menura eval writes"
    return facts


def _each(scores: Mapping[str, Mapping[str, Any]], kept: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    return {str(metric): {key: score.get(key) for key in kept} for metric, score in scores.items()}


def _id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:32]
