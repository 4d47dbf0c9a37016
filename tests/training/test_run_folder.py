import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from rank_processes import ended

from menura.errors import BusyError, DataError, StorageError
from menura.training import run_folder
from menura.training.recipes.tiny import maml
from menura.training.run_folder import Run

SOURCES = {"split_sha256": "abc"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    folder = tmp_path / "run"
    folder.mkdir()
    return Run(folder)


def test_a_run_goes_on_under_the_same_settings(run: Run) -> None:
    run.open(maml(), SOURCES)
    run.open(maml(), SOURCES)
    names = {path.name for path in run.folder.iterdir()}
    assert names == {"run.json", "config.yaml", "command.txt", "env.json"}


def test_every_difference_is_told_and_nothing_is_written(run: Run) -> None:
    run.open(maml(), SOURCES)
    before = (run.folder / "run.json").read_bytes()
    changed = replace(maml(), seed=3, outer=replace(maml().outer, lr=0.5))
    with pytest.raises(DataError) as refused:
        run.open(changed, {"split_sha256": "def"})
    assert [problem.message for problem in refused.value.problems] == [
        "settings.outer.lr: 0.01 -> 0.5",
        "settings.seed: 0 -> 3",
        "sources.split_sha256: 'abc' -> 'def'",
    ]
    assert (run.folder / "run.json").read_bytes() == before


def test_a_setting_that_came_after_a_run_began_is_no_change_unless_it_is_set(run: Run) -> None:
    run.open(maml(), SOURCES)
    path = run.folder / "run.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    del written["settings"]["outer"]["plateau_patience"]
    path.write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(DataError) as refused:
        run.open(replace(maml(), outer=replace(maml().outer, plateau_patience=5)), SOURCES)
    assert [problem.message for problem in refused.value.problems] == ["settings.outer.plateau_patience: 0 -> 5"]
    run.open(maml(), SOURCES)
    assert json.loads(path.read_text(encoding="utf-8"))["settings"]["outer"]["plateau_patience"] == 0


def test_the_peak_memory_of_a_run_is_that_of_the_largest_of_its_processes(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.open(maml(), SOURCES)
    for peak in (300, 700, 500):
        monkeypatch.setattr(run_folder, "peak_memory", lambda peak=peak: peak)
        run.status("interrupted", step=3)
    written = json.loads((run.folder / "STATUS.json").read_text(encoding="utf-8"))
    assert written == {"state": "interrupted", "peak_memory": 700, "step": 3}


def test_a_setting_that_there_is_no_more_is_told(run: Run) -> None:
    run.open(maml(), SOURCES)
    path = run.folder / "run.json"
    written = json.loads(path.read_text(encoding="utf-8"))
    written["settings"]["outer"]["patience"] = 7
    path.write_text(json.dumps(written), encoding="utf-8")
    with pytest.raises(DataError) as refused:
        run.open(maml(), SOURCES)
    assert [problem.message for problem in refused.value.problems] == ["settings.outer.patience: 7 -> None"]


def test_a_record_without_settings_is_told_as_a_change(run: Run) -> None:
    run.open(maml(), SOURCES)
    for written in ({"sources": SOURCES}, {"settings": {"seed": 0}, "sources": SOURCES}):
        (run.folder / "run.json").write_text(json.dumps(written), encoding="utf-8")
        with pytest.raises(DataError) as refused:
            run.open(maml(), SOURCES)
        assert {problem.code for problem in refused.value.problems} == {"config_changed"}


def test_a_change_on_purpose_is_written_and_logged(run: Run) -> None:
    run.open(maml(), SOURCES)
    run.open(replace(maml(), seed=3), SOURCES, changed_allowed=True)
    assert json.loads((run.folder / "run.json").read_text(encoding="utf-8"))["settings"]["seed"] == 3
    assert "changed on purpose: settings.seed: 0 -> 3" in (run.folder / "log.txt").read_text(encoding="utf-8")


def test_what_a_kill_left_half_written_is_swept(run: Run) -> None:
    for name in (".STATUS.json.x7a", ".metrics.jsonl.q", ".mine"):
        (run.folder / name).write_text("half", encoding="utf-8")
    run.open(maml(), SOURCES)
    assert [path.name for path in run.folder.glob(".*")] == [".mine"]


def test_a_half_line_at_the_end_is_no_part_of_the_trace(run: Run) -> None:
    run.note(step=1, loss=2.0)
    run.note(step=2, loss=1.0)
    with run.metrics.open("a", encoding="utf-8") as file:
        file.write('{"step": 3, "lo')
    assert [entry["step"] for entry in run.trace()] == [1, 2]
    run.truncate_log(1)
    run.note(step=2, loss=1.5)
    assert run.trace() == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.5}]


def test_a_run_that_never_was_has_an_empty_trace(run: Run) -> None:
    assert run.trace() == []


def test_clearing_leaves_the_lock_alone(run: Run) -> None:
    with run.locked():
        run.open(maml(), SOURCES)
        run.checkpoints.mkdir()
        run.clear()
        assert [path.name for path in run.folder.iterdir()] == ["lock"]


def test_a_held_run_names_its_holder_and_is_free_afterwards(run: Run) -> None:
    with run.locked():
        with pytest.raises(BusyError, match=f"pid {os.getpid()} on ") as busy, run.locked():
            pass
        assert busy.value.exit_code == 8
    with run.locked():
        pass
    assert (run.folder / "lock").read_bytes() == b""


def test_a_failure_frees_the_run(run: Run) -> None:
    with pytest.raises(ZeroDivisionError), run.locked():
        raise ZeroDivisionError
    with run.locked():
        pass


def dies_holding(folder: Path) -> None:
    """Be killed while this process holds a run."""
    with Run(folder).locked():
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_dead_process_holds_nothing(run: Run, tmp_path: Path) -> None:
    done = ended([(dies_holding, (run.folder,))], tmp_path)
    assert done.codes == [-signal.SIGKILL], done.said
    assert (run.folder / "lock").read_bytes().startswith(b"pid ")
    with run.locked():
        pass


def test_a_run_where_a_file_is_cannot_be_held(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError), Run(tmp_path / "file" / "run").locked():
        pass
