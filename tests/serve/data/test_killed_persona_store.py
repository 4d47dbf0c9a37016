"""A process that is killed while it writes personas loses none that it has acknowledged, and leaves none in half."""

import os
import random
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import counts
import persona_writer
import pytest
from persona_writer import Step, steps

from menura.artefacts import persona_store


def expected(done: list[Step]) -> dict[str, list[str]]:
    """Return the facts of each persona's versions, the oldest first, after some steps."""
    held: dict[str, list[str]] = {}
    for kind, name, what in done:
        if kind == "save":
            held.setdefault(name, []).append(what)
        elif kind == "rename":
            held[what] = held.pop(name)
        else:
            held.pop(name, None)
    return held


def found(name: str) -> list[str]:
    """Return the facts of a persona's versions on the disk; each must be whole."""
    return [persona_store.load(one).facts[0] for one in (*persona_store.versions(name), name)]


@pytest.mark.slow
def test_no_acknowledged_persona_is_lost_when_the_process_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = random.Random(0)
    for seed in range(counts.count(full_count=40, quick_count=3)):
        monkeypatch.setenv("MENURA_HOME", str(tmp_path / str(seed)))
        command = [sys.executable, persona_writer.__file__, str(seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            time.sleep(times.uniform(0.02, 0.4))
            process.kill()
            lines = [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        acknowledged = int(lines[-1]) + 1 if lines else 0
        done = list(islice(steps(seed), acknowledged + 1))
        before, after = expected(done[:-1]), expected(done)
        touched = {name for name in (done[-1][1], done[-1][2]) if name in persona_writer.NAMES}
        for name in persona_store.names():
            if name not in touched:
                assert found(name) == before[name]
            else:  # as it was, as it is to be, or, of a version that was copied first, both
                assert found(name)[-1] in (before.get(name, [""])[-1], after.get(name, [""])[-1])
        there = set(persona_store.names())
        assert set(before) - touched <= there <= {*before, *after}
        if done[-1][0] == "rename":
            assert touched & there
        for name in persona_writer.NAMES:
            persona_store.remove(name)
        assert not list((tmp_path / str(seed) / "personas").iterdir())
