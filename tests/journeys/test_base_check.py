"""``menura base check`` says whether a base is good for adapting, and why not."""

import json
import math
from pathlib import Path

import pytest
from small_bases import write_base

from menura.api.inspect_base import LETTERS, LOST, SLOW, verdict_of
from menura.cli.main import run

Captured = pytest.CaptureFixture[str]
NOTE = "its chat template cannot be used"


@pytest.mark.parametrize(
    ("notes", "bits", "seconds", "verdict", "reasons"),
    [
        ((), 1.2, 20.0, "yes", 0),
        ((), LOST, SLOW, "yes", 0),
        ((NOTE,), 1.2, 20.0, "with care", 1),
        ((), LOST + 0.01, 20.0, "with care", 1),
        ((), 1.2, SLOW + 1, "with care", 1),
        ((NOTE,), LETTERS, SLOW + 1, "with care", 3),
        ((), LETTERS + 0.01, 20.0, "no", 1),
        ((NOTE,), 7.9, SLOW + 1, "no", 3),
        ((), math.nan, 20.0, "no", 1),
        ((NOTE,), None, None, "no", 2),
    ],
)
def test_a_base_is_judged_by_its_notes_what_english_costs_it_and_how_long_a_persona_takes(
    notes: tuple[str, ...], bits: float | None, seconds: float | None, verdict: str, reasons: int
) -> None:
    answer, against = verdict_of(notes, bits, seconds)
    assert (answer, len(against)) == (verdict, reasons)
    assert set(notes) <= set(against)


def test_a_random_base_is_told_to_know_no_word_and_may_be_used(empty_workspace: Path, capsys: Captured) -> None:
    assert run(["base", "check", "tiny"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("good for adapting: no: everyday English costs it ")
    assert last.endswith("so it knows no word in this format")
    assert run(["--json", "base", "check", "tiny"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["verdict"], len(told["reasons"])) == ("no", 1)


def test_a_base_that_reads_too_little_for_a_reply_is_not_measured(
    empty_workspace: Path, tmp_path: Path, capsys: Captured
) -> None:
    write_base(tmp_path / "short", "gpt2", max_position_embeddings=12)
    assert run(["base", "check", str(tmp_path / "short")]) == 0
    told = capsys.readouterr().out
    assert "everyday English  not measured" in told
    assert "good for adapting: no: what it reads at most is too little for one everyday reply; " in told


@pytest.mark.weights
def test_the_default_base_is_good_for_adapting(weights_workspace: Path, capsys: Captured) -> None:
    assert run(["--json", "base", "check", "smollm2-135m"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["bits_per_byte"] < LOST
    assert (told["verdict"] == "yes") == (told["seconds"] <= SLOW)
