"""Where runs are kept, and what a run's name stands for."""

from pathlib import Path

import pytest

from menura.artefacts import runs


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in one folder and keep runs in another."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("MENURA_RUNS", str(tmp_path / "kept"))
    return tmp_path / "kept"


def a_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    return folder


def test_runs_are_kept_where_the_variable_says_else_in_the_workspace(
    elsewhere: Path, empty_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert runs.runs_folder() == elsewhere
    monkeypatch.delenv("MENURA_RUNS")
    assert runs.runs_folder() == empty_workspace / "runs"
    assert runs.results_folder() == empty_workspace / "runs" / "results"


def test_a_run_is_found_by_name_with_and_without_the_prefix(elsewhere: Path) -> None:
    folder = a_run(elsewhere / "cmaml" / "maml")
    assert runs.run_path("cmaml/maml") == runs.run_path("runs/cmaml/maml") == folder
    assert runs.run_path("runs/gone") == Path("runs/gone")


def test_a_path_that_exists_goes_before_a_name(elsewhere: Path) -> None:
    a_run(elsewhere / "one")
    a_run(Path("runs/one"))
    assert runs.run_path("runs/one") == Path("runs/one")
    assert runs.run_path("one") == elsewhere / "one"


def test_results_have_the_name_of_the_run_wherever_it_lies(elsewhere: Path, tmp_path: Path) -> None:
    a_run(elsewhere / "cmaml" / "maml")
    a_run(tmp_path / "other")
    assert runs.results_name("runs/cmaml/maml") == runs.results_name("cmaml/maml") == "cmaml-maml"
    assert runs.results_name("cmaml/maml@tiny") == "cmaml-maml@tiny"
    assert runs.results_name(str(tmp_path / "other")) == str(tmp_path / "other").strip("/").replace("/", "-")
