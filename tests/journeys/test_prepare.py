"""A base gets a checkpoint of its own, and personas begin there from then on."""

import json
from pathlib import Path

import pytest
from made_up_chat import settings, write

from menura.artefacts.bases.prepared import PREPARED, prepared_file
from menura.artefacts.bases.record import Base
from menura.artefacts.loaders.causal_lm import settings_for
from menura.artefacts.tensors import load
from menura.cli.main import run


def test_a_base_is_prepared_once_and_its_personas_begin_there(
    empty_workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = settings(write(tmp_path / "chat.jsonl", people=12, dialogues=8), "outer.steps=2", "outer.lr=0.01")
    assert settings_for("tiny").init_from == ""
    assert run(["--json", "base", "prepare", "tiny", *few]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["perplexity_prepared"] < told["perplexity_before"]
    assert told["speakers"] > 0
    found = settings_for("tiny")
    assert (found.init_from, found.adapters.kind, found.adapters.target_modules) == (*(PREPARED, "lora", "all-linear"),)
    base = Base(**json.loads((empty_workspace / "bases" / "tiny" / "base.json").read_text(encoding="utf-8")))
    weights = load(prepared_file(base))
    assert run(["base", "prepare", "tiny"]) == 0
    assert "is prepared already" in capsys.readouterr().out
    assert all(value.equal(weights[name]) for name, value in load(prepared_file(base)).items())
