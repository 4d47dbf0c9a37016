"""Units run one after another; what is done is left alone, and what fails is named."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from trial_experiment import TRIAL

from menura.experiments.commands import Unit
from menura.experiments.reproduce import CommandFailedError, reproduce


class Machine:
    """Does what the commands of units would leave behind, and remembers what was typed."""

    def __init__(self, fails_at: str = "") -> None:
        self.typed: list[str] = []
        self._fails_at = fails_at

    def __call__(self, words: Sequence[str]) -> int:
        self.typed.append(f"{words[0]} {Path(words[-1] if words[0] == 'train' else words[1]).name}")
        if self.typed[-1] == self._fails_at:
            return 3
        out = Path(words[words.index("--out") + 1])
        if words[0] == "train":
            out.mkdir(parents=True, exist_ok=True)
            (out / "run.json").write_text("{}")
            (out / "STATUS.json").write_text('{"state": "done"}')
            (out / "command.txt").write_text(f"menura {' '.join(words)}\n")
        else:
            folder = next(unit.evaluation for unit in units() if unit.evaluate == tuple(words))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "scores.json").write_text(json.dumps({"origin": {"words": list(words)}}))
        return 0


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep runs in a folder of the test's own."""
    monkeypatch.setenv("MENURA_RUNS", str(tmp_path))


def units() -> list[Unit]:
    return [Unit(TRIAL, row, seed, "cpu") for row, seed in TRIAL.units()]


def test_each_training_runs_once_and_before_what_begins_there() -> None:
    machine = Machine()
    assert reproduce(units(), run=machine, say=lambda line: None) == []
    assert machine.typed == [
        *("train first-0", "eval first-0", "train first-1", "eval first-1"),
        *("train later-0", "eval later-0", "eval later-0", "eval finetune"),
    ]


def test_a_row_that_is_asked_for_alone_trains_what_it_begins_at() -> None:
    machine = Machine()
    reproduce([units()[2]], run=machine, say=lambda line: None)
    assert machine.typed == ["train first-0", "train later-0", "eval later-0"]


def test_the_same_call_resumes_where_a_command_failed() -> None:
    with pytest.raises(CommandFailedError, match="trial/later seed 0: exit code 3 of: menura train tiny/maml"):
        reproduce(units(), run=Machine("train later-0"), say=lambda line: None)
    machine, lines = Machine(), []
    reproduce(units(), run=machine, say=lines.append)
    assert machine.typed[0] == "train later-0"
    assert lines[0] == "trial/first seed 0: scored already"


def test_no_row_begins_when_the_hours_are_over() -> None:
    machine = Machine()
    left_out = reproduce(units(), hours=-1, run=machine, say=lambda line: None)
    assert [unit.title for unit in left_out] == [unit.title for unit in units()]
    assert machine.typed == []


def test_a_learning_rate_at_which_a_training_diverges_is_not_the_best_and_stops_nothing() -> None:
    row = replace(TRIAL.row("first"), rates=(1e-3, 1e-2))
    trial = replace(TRIAL, rows=(row, *TRIAL.rows[1:]))
    unit = Unit(trial, row, 0, "cpu")
    machine = Machine()

    def diverges(words: Sequence[str]) -> int:
        code = machine(words) if words[0] == "train" else 0
        out = Path(words[words.index("--out") + 1])
        if "outer.lr=0.01" in words:
            (out / "STATUS.json").write_text('{"state": "failed", "code": "not_finite", "step": 40}')
            return 6
        return code

    assert reproduce([unit], run=diverges, say=lambda line: None) == []
    assert unit.run.name == "first-0-0.001"
    reproduce([unit], run=diverges, say=lambda line: None)
    assert machine.typed == ["train first-0-0.001", "train first-0-0.01"], "it was not tried again"
    with pytest.raises(CommandFailedError, match="exit code 6"):
        reproduce([Unit(TRIAL, TRIAL.rows[0], 0, "cpu")], run=lambda words: 6, say=lambda line: None)
