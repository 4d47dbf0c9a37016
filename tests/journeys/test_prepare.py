"""A base gets a checkpoint of its own, and personas begin there from then on."""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_up_chat import settings, write

from menura.artefacts.bases.prepared import PREPARED, prepared_file
from menura.artefacts.bases.record import Base
from menura.artefacts.loaders.causal_lm import settings_for
from menura.artefacts.tensors import load
from menura.cli.main import run
from menura.errors import NumericalError
from menura.training import prepare_base
from menura.training.prepare_base import Rates, recipe

Captured = pytest.CaptureFixture[str]


class Trials:
    """Stands in for the steps at a rate, with a loss for each; a rate without one is a key pressed to stop."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, losses: Mapping[float, float]) -> None:
        self.losses = dict(losses)
        self.rates: list[float] = []
        monkeypatch.setattr(prepare_base, "unadapted_after", self._after)

    def _after(self, training: Any, rate: float, *_: Any) -> tuple[float, float]:
        del training
        if rate not in self.losses:
            raise KeyboardInterrupt
        self.rates.append(rate)
        return self.losses[rate], 0.1


@pytest.fixture
def few(empty_workspace: Path, tmp_path: Path) -> list[str]:
    """Return the settings of a training of two steps."""
    return settings(write(tmp_path / "chat.jsonl", people=12, dialogues=8), "outer.steps=2")


def prepared(workspace: Path) -> Path:
    """Return the file of the tiny base's checkpoint."""
    base = Base(**json.loads((workspace / "bases" / "tiny" / "base.json").read_text(encoding="utf-8")))
    return prepared_file(base)


def last_of(capsys: Captured) -> dict[str, Any]:
    """Return the object that a line ended with."""
    told: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return told


def test_a_base_is_prepared_once_and_its_personas_begin_there(
    empty_workspace: Path, few: list[str], capsys: Captured
) -> None:
    assert settings_for("tiny").init_from == ""
    assert run(["--json", "base", "prepare", "tiny", *few, "--set", "outer.lr=0.01"]) == 0
    told = last_of(capsys)
    assert told["perplexity_prepared"] < told["perplexity_before"]
    assert told["speakers"] > 0
    assert told["trained"]
    start = settings_for("tiny")
    assert (start.init_from, start.adapters.kind, start.adapters.target_modules) == (*(PREPARED, "lora", "all-linear"),)
    weights = load(prepared(empty_workspace))
    assert run(["base", "prepare", "tiny"]) == 0
    assert "is prepared already" in capsys.readouterr().out
    assert all(value.equal(weights[name]) for name, value in load(prepared(empty_workspace)).items())


def test_a_checkpoint_that_is_there_is_not_said_to_be_written(
    empty_workspace: Path, few: list[str], capsys: Captured
) -> None:
    assert run(["base", "prepare", "tiny", *few, "--set", "outer.lr=0.01"]) == 0
    *_, wrote, perplexity = capsys.readouterr().out.splitlines()
    assert wrote == f"wrote  {prepared(empty_workspace)}"
    assert run(["base", "prepare", "tiny"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        *(f"same   {prepared(empty_workspace)} was there already", perplexity)
    ]
    assert run(["--json", "base", "prepare", "tiny"]) == 0
    assert not last_of(capsys)["trained"]


def test_the_trial_of_rates_resumes_at_the_rate_it_was_stopped_at(
    empty_workspace: Path, few: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = Trials(monkeypatch, {3e-4: 3.0})
    line = ["base", "prepare", "tiny", *few]
    assert run(line) == 130
    trials.losses |= {1e-3: 2.0, 3e-3: 2.5}
    assert run(line) == 0
    assert trials.rates == [3e-4, 1e-3, 3e-3]
    assert "       0.001 is best; 2 steps" in capsys.readouterr().out
    written = json.loads((prepared(empty_workspace).parent / "run" / "run.json").read_text(encoding="utf-8"))
    assert written["settings"]["outer"]["lr"] == 1e-3


def test_rates_are_tried_anew_when_asked(few: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    trials = Trials(monkeypatch, {3e-4: 3.0, 1e-3: 2.0, 3e-3: 2.5})
    assert run(["base", "prepare", "tiny", *few]) == 0
    assert run(["base", "prepare", "tiny", *few, "--fresh"]) == 0
    assert trials.rates == [3e-4, 1e-3, 3e-3] * 2


@pytest.mark.parametrize(
    ("losses", "tried", "best"),
    [
        ([3.0, 2.0, 2.5], [3e-4, 1e-3, 3e-3], 1e-3),
        ([2.0, 2.0, 2.0], [3e-4, 1e-3, 3e-3], 3e-4),
        ([3.0, 2.5, 2.0, 2.2], [3e-4, 1e-3, 3e-3, 9e-3], 3e-3),
        ([3.0, 2.5, 2.0, math.inf], [3e-4, 1e-3, 3e-3, 9e-3], 3e-3),
        ([3.0, 2.5, 2.0, math.nan], [3e-4, 1e-3, 3e-3, 9e-3], 3e-3),
        ([3.0, 2.5, 2.0, 1.9, 1.95], [3e-4, 1e-3, 3e-3, 9e-3, 0.027], 9e-3),
        ([3.0, 2.5, 2.0, 1.9, 1.8, 1.7], [3e-4, 1e-3, 3e-3, 9e-3, 0.027], 0.027),
    ],
)
def test_higher_rates_are_tried_while_the_highest_is_the_best(
    losses: list[float], tried: list[float], best: float, tmp_path: Path
) -> None:
    rates = Rates()
    while (rate := rates.untried) is not None:
        rates = rates.adding(rate, losses[len(rates.perplexity)], 0.1)
        rates.write(tmp_path / "rates.json", recipe())
        assert Rates.read(tmp_path / "rates.json", recipe()) == rates
    assert list(rates.perplexity) == tried
    assert rates.best == best
    assert Rates.read(tmp_path / "rates.json", replace(recipe(), seed=1)) == Rates()


def test_a_base_that_diverges_at_every_rate_is_refused_with_a_lower_one(
    few: list[str], capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    Trials(monkeypatch, dict.fromkeys((3e-4, 1e-3, 3e-3), math.inf))
    for _ in range(2):
        assert run(["base", "prepare", "tiny", *few]) == NumericalError.exit_code
        told = capsys.readouterr().err
        assert "error[diverged_at_once]: the loss diverges at each learning rate tried" in told
        assert "(hint: --set outer.lr=3e-05)" in told
