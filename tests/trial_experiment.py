"""An experiment of four rows that tests run, score and publish."""

import json
from collections.abc import Callable
from typing import Any

from menura.experiments.commands import Unit
from menura.experiments.experiment import Experiment, ExperimentRow, Table
from menura.metrics.catalogue import METRICS
from menura.metrics.score import Sample, by_persona
from menura.metrics.statistics_json import as_json

Change = Callable[[dict[str, Any]], None]

TRIAL = Experiment(
    name="trial",
    question="?",
    rule="!",
    core_hours=1,
    rows=(
        ExperimentRow("first", "First", "tiny/maml", seeds=2),
        ExperimentRow("later", "Later", "tiny/maml", ("outer.steps=9", "method.order=exact"), start="first"),
        ExperimentRow("again", "Again", "tiny/maml", run_of="later", scored_with=("--prompt",)),
        ExperimentRow("bare", "Bare", "tiny/finetune", ("model.max_length=64",), trains=False),
    ),
    tables=(
        Table(
            "scores",
            ("ppl", "f1"),
            ("first", "later"),
            ("un-adapted", "adapted"),
            paper_columns=("PPL",),
            beside=("costs", "masks", "distances"),
            paper={"first": ("37.9",)},
        ),
        Table("decides", ("ppl",), ("first", "later"), against="first"),
    ),
    scored_with=("-k", "5"),
    scored_with_tiny=("-k", "1"),
)

MASKS = {
    "mask_statistics": {"density": {"private.1.weight": 0.25}, "jaccard": 0.8123},
    "correlation": 0.31,
    "p": 0.0042,
}


def samples(shift: float) -> list[Sample]:
    """Two replies of each of six personas; a higher shift is worse."""
    return [
        Sample(f"p{i}", f"d{j}", "it rains", "it rains today", 3.0 + shift + 0.3 * i + 0.1 * j, 4)
        for i in range(6)
        for j in range(2)
    ]


def scored(name: str, seed: int = 0, shift: float = 0.0, change: Change = lambda content: None) -> Unit:
    """Leave behind what training and scoring a row leaves; ``change`` edits the scores before they are written."""
    unit = Unit(TRIAL, TRIAL.row(name), seed, "cpu")
    lines = {"un-adapted": samples(shift + 0.5), "adapted, K=5": samples(shift)}
    content: dict[str, Any] = {
        "about": {"data": "chats", "split": "seed 0", "query": "2", "environment": "torch"},
        "origin": {
            "words": list(unit.evaluate),
            "peak_memory": 2_500_000_000,
            "settings": {"seed": seed, "model": {"name": "m", "init_from": str(unit.run)}},
            "sources": {"split_sha256": "s"},
            "personas_sha256": "p",
            "commit": "abc",
            "code": {"evaluation.evaluate": "1", "models.one": "2"},
            "evaluation": {"decoding": "greedy", "queries": 2},
        },
        "rows": [
            {
                "label": label,
                "kind": label.split(",")[0],
                "seconds": 4.2 if "K" in label else 0.0,
                "kilobytes": 1234.0 if "K" in label else 0.0,
                "distances": {"delta_sq": 6.145e-10, "diff_sq": 1.2e-9} if "K" in label else None,
                "drawn_replies": ["it rains .", None, "so what ?", ""],
                "masks": MASKS if "K" in label else None,
                "scores": {"ppl": {"signature": METRICS["ppl"].signature}},
            }
            for label in lines
        ],
    }
    change(content)
    unit.evaluation.mkdir(parents=True)
    (unit.evaluation / "scores.json").write_text(json.dumps(content))
    (unit.evaluation / "statistics.json").write_text(json.dumps([_statistics(*line) for line in lines.items()]))
    unit.run.mkdir(parents=True)
    (unit.run / "run.json").write_text(json.dumps({"settings": {}, "sources": {}}))
    (unit.run / "code.json").write_text(json.dumps([{"commit": "abc", "code": {"models.one": "2"}}]))
    (unit.run / "env.json").write_text("{}")
    (unit.run / "STATUS.json").write_text('{"state": "done", "peak_memory": 3100000000}')
    (unit.run / "command.txt").write_text(f"menura {' '.join(unit.trainings[0].words)}\n")
    steps = [{"step": 1, "tokens": 30}, {"step": 1, "valid": 2.0}, {"step": 2, "tokens": 12}]
    (unit.run / "metrics.jsonl").write_text("".join(f"{json.dumps(step)}\n" for step in steps))
    return unit


def _statistics(label: str, replies: list[Sample]) -> dict[str, Any]:
    groups = by_persona(replies)
    gathered = [as_json(METRICS["ppl"].gather(group)) for group in groups.values()]
    return {"label": label, "metrics": {"ppl": {"personas": list(groups), "gathered": gathered, "samples": 12}}}
