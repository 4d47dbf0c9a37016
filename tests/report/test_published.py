"""Published scores give their figures again, and are refused where they were edited or do not compare."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from trial_experiment import TRIAL, Change, samples, scored

from menura.errors import DataError
from menura.metrics.catalogue import METRICS
from menura.metrics.significance import paired_difference, score, score_of_runs
from menura.report.experiment_tables import ExperimentTables
from menura.report.published import check_alike, publish, read


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep runs in a folder of the test's own."""
    monkeypatch.setenv("MENURA_RUNS", str(tmp_path / "runs"))


def test_a_figure_made_again_is_the_evaluation_s_own(tmp_path: Path) -> None:
    publish(scored("first"), tmp_path)
    line = ExperimentTables(TRIAL, read(tmp_path)).line("first", "adapted")
    assert line.score("ppl") == score(METRICS["ppl"], samples(0.0), seed=0)


def test_seeds_are_joined_and_differences_paired(tmp_path: Path) -> None:
    for seed, shift in ((0, 0.0), (1, 0.4)):
        publish(scored("first", seed, shift), tmp_path)
    publish(scored("later", 0, -0.2), tmp_path)
    tables = ExperimentTables(TRIAL, read(tmp_path))
    first, later = tables.line("first", "adapted"), tables.line("later", "adapted")
    runs = [unit.statistics("adapted, K=5", "ppl") for unit in first.units]
    assert first.score("ppl") == score_of_runs(METRICS["ppl"], runs, signature=METRICS["ppl"].signature, seed=0)
    # Only seed 0 is on both sides.
    assert later.minus(first, "ppl") == paired_difference(METRICS["ppl"], samples(-0.2), samples(0.0), seed=0)
    assert tables.left_out() == ["again (seed 0)", "bare (seed 0)"]


def test_no_folder_of_this_machine_is_published(tmp_path: Path) -> None:
    path = publish(scored("first"), tmp_path)
    text = gzip.decompress(path.read_bytes()).decode()
    assert str(tmp_path) not in text
    assert "$MENURA_RUNS/trial@cpu/first-0" in text


def test_the_length_of_the_training_is_published(tmp_path: Path) -> None:
    publish(scored("first"), tmp_path)
    (unit,) = read(tmp_path)
    assert (unit.content["run"]["steps"], unit.content["run"]["tokens"]) == (2, 42)


def test_an_edited_file_and_a_damaged_one_are_named_at_once(tmp_path: Path) -> None:
    edited, damaged = publish(scored("first"), tmp_path), publish(scored("later"), tmp_path)
    content = json.loads(gzip.decompress(edited.read_bytes()))
    content["statistics"][0]["metrics"]["ppl"]["gathered"][0][0] -= 1
    edited.write_bytes(gzip.compress(json.dumps(content).encode()))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert [(p.code, Path(p.place).name) for p in caught.value.problems] == [
        ("edited", edited.name),
        ("damaged", damaged.name),
    ]


def _other_code(content: dict[str, Any]) -> None:
    content["origin"]["code"]["models.one"] = "3"


def _other_personas(content: dict[str, Any]) -> None:
    content["origin"]["personas_sha256"] = "q"


def _other_split(content: dict[str, Any]) -> None:
    content["origin"]["sources"]["split_sha256"] = "t"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_code, "different code of models.one"),
        (_other_personas, "first seed 0 against later: personas: 'p' -> 'q'"),
        (_other_split, "first seed 0 against later: split_sha256: 's' -> 't'"),
    ],
)
def test_rows_that_do_not_compare_are_refused_by_what_differs(tmp_path: Path, change: Change, message: str) -> None:
    publish(scored("first"), tmp_path)
    publish(scored("later", change=change), tmp_path)
    with pytest.raises(DataError) as caught:
        check_alike(read(tmp_path))
    assert message in str(caught.value)


def test_seeds_of_a_row_differ_in_nothing_else(tmp_path: Path) -> None:
    def longer(content: dict[str, Any]) -> None:
        content["origin"]["settings"]["model"]["name"] = "n"

    publish(scored("first"), tmp_path)
    publish(scored("first", 1, change=longer), tmp_path)
    with pytest.raises(DataError, match="seeds of first: model.name: 'm' -> 'n'"):
        check_alike(read(tmp_path))


def test_modules_that_only_one_row_runs_do_not_count(tmp_path: Path) -> None:
    def more_code(content: dict[str, Any]) -> None:
        content["origin"]["code"]["models.two"] = "9"

    publish(scored("first"), tmp_path)
    publish(scored("later", change=more_code), tmp_path)
    check_alike(read(tmp_path))
