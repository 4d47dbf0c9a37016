import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks.material import Size
from benchmarks.paired import Figures, Ratio
from menura.errors import NumericalError
from menura.report import outputs

pytest.importorskip("peft", reason="peft is installed by make bench")


def slow(rounds: int) -> Iterator[Ratio | Figures]:
    yield Figures(("answered by", "tokens/s"), (("us", "181"), ("them", "94")))
    yield Ratio("slow", "peer", 0.5, 0.4, 0.6, rounds, at_least=1.5)


def wrong(rounds: int) -> Iterator[Ratio]:
    yield Ratio("wrong", "peer", 2, 2, 2, rounds)
    raise NumericalError("gradient off")


def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, list[dict[str, object]]]:
    from benchmarks import __main__ as bench  # noqa: PLC0415  # it needs peft

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "GROUPS", (SimpleNamespace(rows=lambda: {"wrong": wrong, "slow": slow}),))
    # What it changes for the whole process would change the tests after it.
    monkeypatch.setattr("warnings.simplefilter", lambda *given: None)
    monkeypatch.setattr(bench.transformers_logging, "set_verbosity_error", lambda: None)
    return bench.main(list(words)), json.loads((tmp_path / "results/benchmarks.json").read_text())["rows"]


def test_a_wrong_row_is_an_error_and_the_others_still_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, rows = ran(tmp_path, monkeypatch)
    assert code == NumericalError.exit_code
    assert [row["what"] for row in rows] == ["wrong", "slow"]


def test_a_slow_row_is_shown_and_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, rows = ran(tmp_path, monkeypatch, "--only", "slow", "--rounds", "2")
    assert code == 0
    assert [(row["what"], row["rounds"], row["met"]) for row in rows] == [("slow", 2, False)]


def test_what_was_measured_is_kept_with_the_command_and_shown_by_its_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran(tmp_path, monkeypatch, "--only", "slow", "--rounds", "2")
    outputs.keep(tmp_path / "results/benchmarks.md", "bench", tmp_path)
    kept = outputs.read("bench", tmp_path)
    assert kept.command == "python -m benchmarks --only slow --rounds 2"
    assert kept.table(1).splitlines()[-1] == "| slow | peer | 0.50x quicker | 0.40 to 0.60 | 2 | 1.50 | NO |"
    assert kept.cell(["slow", "peer"], "ratio, median") == "0.50x quicker"
    assert kept.cell(["them"], "tokens/s") == "94"
    for told in ("processor: ", "torch: ", "rounds: 2", "took: 0 min"):
        assert f"- {told}" in kept.conditions


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of transformers, for what peft still calls
def test_the_bank_and_peft_write_what_one_persona_at_a_time_writes() -> None:
    from benchmarks import many_personas  # noqa: PLC0415  # it needs peft

    size = Size(width=16, depth=2, heads=2, vocabulary=50)
    ways = many_personas.all_ways(many_personas.CASES["many-personas-lora"], 3, size)
    one_at_a_time = ways[many_personas.ALONE]()
    assert ways[many_personas.BANK]() == ways[many_personas.MIXED]() == ways[many_personas.SWAPPED]() == one_at_a_time
    assert ways[many_personas.BARE]() != one_at_a_time
