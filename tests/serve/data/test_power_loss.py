"""After a power cut at any moment each acknowledged persona is there, whole, and what is deleted stays deleted (D3)."""

import os
import random
import shutil
import subprocess
import sys
from itertools import islice
from pathlib import Path

import counts
import persona_writer
import pytest
from persona_writer import names_of, steps
from power_loss import STRACE, Call, CutDisk, calls
from test_killed_persona_store import check

import menura
from menura import api

CUTS = counts.count(full_count=400, quick_count=40)
STEPS = counts.count(full_count=60, quick_count=20)
SEED = 3


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Call]]:
    """Give the workspace and the calls of a process that saved, replaced, renamed and deleted personas."""
    if not shutil.which("strace"):
        pytest.skip("no strace here: apt-get install strace")
    folder = tmp_path_factory.mktemp("recorded")
    code = f"import persona_writer; persona_writer.print_steps({SEED}, {STEPS})"
    places = [str(Path(menura.__file__).parents[1]), str(Path(persona_writer.__file__).parent)]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(places),
        "MENURA_HOME": str(folder / "home"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    words = [*STRACE, "-o", str(folder / "log"), sys.executable, "-c", code]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr.lower():
        pytest.skip("strace may not trace here")
    assert done.stdout.count("\n") == STEPS, done.stderr
    return folder / "home", list(calls((folder / "log").read_text(encoding="utf-8")))


def cut(recorded: tuple[Path, list[Call]], at: int, chance: random.Random) -> tuple[dict[str, bytes], int]:
    """Return the files that are left when the power goes before a call, and how many steps were acknowledged."""
    home, made = recorded
    disk = CutDisk(str(home / "personas"))
    for call in made[:at]:
        disk.take(call)
    return disk.after_a_cut(chance), disk.said


@pytest.mark.slow
def test_after_a_power_cut_what_was_acknowledged_is_there(
    recorded: tuple[Path, list[Call]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(0)
    first = next(number for number, call in enumerate(recorded[1]) if call.name == "mkdir")
    for number in range(CUTS):
        files, acknowledged = cut(recorded, chance.randrange(first, len(recorded[1]) + 1), chance)
        home = tmp_path / str(number)
        (home / "personas").mkdir(parents=True)
        for name, content in files.items():
            (home / "personas" / name).write_bytes(content)
        monkeypatch.setenv("MENURA_HOME", str(home))
        found = api.examine_workspace(repair=True)
        assert not [one for one in found if "damaged" in one.what], (number, found)
        assert api.examine_workspace() == []
        check(list(islice(steps(SEED, 0), acknowledged + 1)), names_of(0))
        shutil.rmtree(home)


def test_the_whole_log_leaves_what_the_process_left(recorded: tuple[Path, list[Call]]) -> None:
    files, acknowledged = cut(recorded, len(recorded[1]), random.Random(0))
    assert acknowledged == STEPS
    there = {path.name: path.read_bytes() for path in (recorded[0] / "personas").iterdir()}
    assert files == there


@pytest.mark.parametrize("left_out", ["file", "folder"])
def test_a_sync_that_is_left_out_is_noticed(
    recorded: tuple[Path, list[Call]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_out: str
) -> None:
    home, made = recorded
    disk, opened = CutDisk(str(home / "personas")), dict[int, bool]()
    without = []
    for call in made:
        if call.name == "openat":
            opened[call.returned] = call.texts[0] == os.fsencode(disk.folder)
        if call.name != "fsync" or opened.get(call.number, False) != (left_out == "folder"):
            without.append(call)
    with pytest.raises(AssertionError):
        test_after_a_power_cut_what_was_acknowledged_is_there((home, without), tmp_path, monkeypatch)
