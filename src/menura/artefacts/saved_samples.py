"""Samples that ``menura eval`` wrote by line become samples again."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from menura.artefacts.earlier_names import SAMPLE_FIELDS
from menura.corpus.atomic_files import reporting
from menura.errors import DataError
from menura.metrics.score import Sample

PREDICTIONS, LIKELIHOODS = "predictions.jsonl", "likelihoods.jsonl"
_TUPLES = ("facts", "nli_labels", "references", "said", "log_posterior")  # JSON has arrays


def read(path: Path) -> Iterator[tuple[str, Sample]]:
    """Yield (row, sample) of each line; DataError where the file is missing or not ours."""
    if not path.exists():
        raise DataError(f"no {path.name} here", place=str(path.parent), hint="evaluate it again")
    known = {field.name for field in fields(Sample)}
    with reporting(path):
        lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            told = json.loads(line)
            now = {SAMPLE_FIELDS.get(name, name): value for name, value in told.items()}
            values = {name: _as_tuple(name, value) for name, value in now.items() if name in known}
            yield told["row"], Sample(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"not what menura eval writes ({error!r})", place=f"{path}:{number}", code="schema"
            ) from error


def _as_tuple(name: str, value: Any) -> Any:
    if name == "context" and value is not None:
        return tuple((speaker, text) for speaker, text in value)
    return tuple(value) if name in _TUPLES else value
