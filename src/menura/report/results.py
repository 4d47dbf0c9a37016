"""The results of one evaluation become a table on screen and files: Markdown, CSV, JSON, and every reply."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from menura.artefacts.files import write_text
from menura.artefacts.saved_samples import LIKELIHOODS, PREDICTIONS
from menura.evaluation.evaluate import Results, SystemRow
from menura.metrics import catalogue, identification
from menura.metrics.score import Sample, by_persona
from menura.metrics.statistics_json import as_json
from menura.report.table import DifferenceRow, TableRow, csv_text, differences_markdown, json_text, markdown

STATISTICS = "statistics.json"


def table(results: Results) -> str:
    """Return the scores, the paired differences to the adapted rows, and the conditions of the evaluation."""
    about = "\n".join(f"{key}: {value}" for key, value in results.about.items())
    tables = [markdown(_rows(results)), differences_markdown(_differences(results))]
    if told_apart := {row.label: row.identified for row in results.rows if row.identified}:
        tables.append(identification.table(told_apart))
    return "\n\n".join([*tables, about]) + "\n"


def write(results: Results, folder: Path) -> list[Path]:
    """Write table.md, scores.csv, scores.json, what figures are computed from, and all samples by line.

    Return their paths.
    """
    texts = {
        "table.md": table(results),
        "scores.csv": csv_text(_rows(results)),
        "scores.json": _with_about(json_text(_rows(results)), results),
        STATISTICS: json.dumps([_statistics(row) for row in results.rows]) + "\n",
        PREDICTIONS: _lines((row.label, asdict(sample)) for row in results.rows for sample in row.generated),
        LIKELIHOODS: _lines((row.label, _likely(sample)) for row in results.rows for sample in row.scored),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def _statistics(row: SystemRow) -> dict[str, Any]:
    """Return what each metric gathered of each persona, from which figures are made again; it holds no text."""
    by_metric: dict[str, Any] = {}
    for metric in catalogue.named(tuple(row.scores)):
        groups = by_persona(row.samples(metric.name))
        by_metric[metric.name] = {
            "personas": list(groups),
            "gathered": [as_json(metric.gather(group)) for group in groups.values()],
            "samples": len(row.samples(metric.name)),
        }
    told_apart = {"identified": [one.record() for one in row.identified]} if row.identified else {}
    return {"label": row.label, "metrics": by_metric, **told_apart}


def _lines(samples: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    lines = (json.dumps({"row": label, **sample}, ensure_ascii=False) for label, sample in samples)
    return "".join(f"{line}\n" for line in lines)


def _likely(sample: Sample) -> dict[str, Any]:
    """Return the likelihood fields of a sample, without generated ones."""
    names = ("persona_id", "dialogue_id", "reply", "reference", "reference_nll", "reference_tokens")
    return {name: getattr(sample, name) for name in names}


def _rows(results: Results) -> list[TableRow]:
    return [TableRow(row.label, row.scores, row.notes) for row in results.rows]


def _differences(results: Results) -> list[DifferenceRow]:
    return [DifferenceRow(ours, theirs, found) for ours, theirs, found in results.differences]


def _with_about(scores: str, results: Results) -> str:
    differences = [
        {"ours": ours, "theirs": theirs, "differences": {name: asdict(d) for name, d in found.items()}}
        for ours, theirs, found in results.differences
    ]
    rows = [
        {
            **shown,
            "kind": row.kind,
            "shots": row.shots,
            "seconds": row.seconds,
            "kilobytes": row.kilobytes,
            "by_draw": {name: list(v) for name, v in row.by_draw.items()},
            "distances": asdict(row.distances) if row.distances else None,
            "masks": asdict(row.likeness) if row.likeness else None,
            "drawn_replies": list(row.drawn_replies),
        }
        for shown, row in zip(json.loads(scores)["rows"], results.rows, strict=True)
    ]
    whole = {
        "about": dict(results.about),
        "origin": dict(results.origin),
        "rows": rows,
        "differences": differences,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
