"""Processes that are killed while they write personas lose none that was acknowledged, and leave none in half.

Reliability D1. Each writer has names of its own, so that what must be there is known; the workspace is one.
"""

import multiprocessing
import random
import threading
import time
from itertools import islice
from pathlib import Path

import counts
import persona_writer
import pytest
from persona_writer import Step, names_of, persona, steps
from plain_persona import made_persona

from menura import api
from menura.artefacts import persona_store
from menura.cli.main import run
from menura.errors import BusyError

ROUNDS = counts.count(full_count=100, quick_count=4)
WRITERS = 4


def expected(done: list[Step]) -> dict[str, list[str]]:
    """Return the facts of each persona's versions, the oldest first, after some steps."""
    held: dict[str, list[str]] = {}
    for kind, name, what in done:
        if kind == "save":
            held.setdefault(name, []).append(what)
        elif kind == "replace":
            held[name] = [what]
        elif kind == "rename":
            held[what] = held.pop(name)
        else:
            held.pop(name, None)
    return held


def found(name: str) -> list[bytes]:
    """Return the bytes of a persona's versions on the disk; each must load."""
    files = (*persona_store.versions(name), name)
    assert all(persona_store.load(one).name == name for one in files)
    return [persona_store.path_of(one).read_bytes() for one in files]


def written(name: str, facts: list[str]) -> list[bytes]:
    return [persona(name, fact).packed() for fact in facts]


def killed(home: Path, seed: int, seconds: float, *, at_a_write: bool) -> list[int]:
    """Let all writers write and kill them together; return how many steps each has acknowledged."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["menura.artefacts.persona_store"])
    said = [home.with_suffix(f".{writer}") for writer in range(WRITERS)]
    given = [(seed, writer, str(home), str(file)) for writer, file in enumerate(said)]
    writers = [server.Process(target=persona_writer.write, args=one) for one in given]
    for writer in writers:
        writer.start()
    while not all(file.exists() and file.stat().st_size for file in said):
        time.sleep(0.001)
    time.sleep(seconds)
    while at_a_write and not list((home / "personas").glob(".*")):
        pass  # the file is there for a millisecond or two
    for writer in writers:
        writer.kill()
    for writer in writers:
        writer.join()
    lines = [file.read_text().splitlines(keepends=True) for file in said]
    return [sum(line.endswith("\n") for line in one) for one in lines]


def check(done: list[Step], names: tuple[str, ...]) -> None:
    """Compare what is there with what was acknowledged; the last step is that which may have been cut short."""
    before, after = expected(done[:-1]), expected(done)
    kind, name, what = done[-1]
    touched = {name, what} & set(names)
    there = set(persona_store.names()) & set(names)
    assert set(before) - touched <= there <= {*before, *after}
    for one in there:
        now = found(one)
        if one not in touched:
            assert now == written(one, before[one])
            continue
        newest = [facts[one][-1:] for facts in (before, after) if one in facts]
        assert now[-1:] in [written(one, facts) for facts in newest], "as it was, or as it is to be"
        # Of a version that was copied first, and of versions that are being deleted, some are there.
        all_of_it = {*written(one, before.get(one, [])), *written(one, after.get(one, []))}
        assert set(now) <= all_of_it
        if kind == "save":
            assert set(written(one, before.get(one, []))) <= set(now)
    if kind in ("save", "replace") and name in before:
        assert name in there
    if kind == "rename":  # under the one name or the other, all of its versions
        assert any(found(one) == written(one, before[name]) for one in touched & there)


@pytest.mark.slow
def test_no_acknowledged_persona_is_lost_when_processes_are_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = random.Random(0)
    half = 0
    for seed in range(ROUNDS):
        monkeypatch.setenv("MENURA_HOME", str(tmp_path / str(seed)))
        acknowledged = killed(tmp_path / str(seed), seed, times.uniform(0, 0.4), at_a_write=seed % 2 == 0)
        half += len(list((tmp_path / str(seed) / "personas").glob(".*")))
        assert run(["doctor", "--repair"]) == 0
        assert "damaged persona" not in capsys.readouterr().out
        assert api.examine_workspace() == []
        assert not list((tmp_path / str(seed) / "personas").glob(".*"))
        for writer, count in enumerate(acknowledged):
            check(list(islice(steps(seed, writer), count + 1)), names_of(writer))
            for name in names_of(writer):
                persona_store.remove(name)
        left = (tmp_path / str(seed) / "personas").rglob("*")
        assert not [path for path in left if path.is_file()]
    assert half, "none was killed in the middle of a write"
    print(f"{ROUNDS} rounds, {half} writes cut short")


def test_writers_of_one_persona_take_turns_and_none_loses_a_version(empty_workspace: Path) -> None:
    del empty_workspace
    each = 10

    def write(writer: int) -> None:
        for number in range(each):
            persona_store.save(made_persona("anna", facts=(f"{writer} {number}",)))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    facts = {persona_store.load(one).facts[0] for one in (*persona_store.versions("anna"), "anna")}
    assert facts == {f"{writer} {number}" for writer in range(WRITERS) for number in range(each)}


def test_what_is_being_written_is_no_left_over(empty_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    persona_store.save(made_persona("anna"))
    unfinished = empty_workspace / "personas" / ".anna.persona.x1"
    monkeypatch.setattr("menura.corpus.file_lock.LONGEST", 0.05)
    with persona_store.changing():
        unfinished.write_bytes(b"half")
        with pytest.raises(BusyError, match="changing personas"):
            api.examine_workspace()
    assert [one.what for one in api.examine_workspace(repair=True)] == ["a write that was cut short"]
    assert not unfinished.exists()


def test_versions_that_a_cut_rename_left_are_set_aside_and_deleted_with_the_name(empty_workspace: Path) -> None:
    for fact in ("one", "two"):
        persona_store.save(made_persona("anna", facts=(fact,)))
    persona_store.path_of("anna").unlink()
    (finding,) = api.examine_workspace(repair=True)
    assert "earlier version of a persona that is no more" in finding.what
    assert api.examine_workspace() == []
    assert list((empty_workspace / "personas" / "damaged").iterdir())
    persona_store.remove("anna")
    assert not list((empty_workspace / "personas" / "damaged").iterdir())
