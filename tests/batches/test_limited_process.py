"""Work in a process of its own has its result, its limits, and no effect on us."""

import os
import signal
import time
from pathlib import Path

import pytest

from menura.batches.limited_process import SIZES, call_limited

MEMORY = 100_000_000


def limited(work: object, seconds: float = 20.0) -> object:
    return call_limited(lambda: work() if callable(work) else work, seconds=seconds, memory=MEMORY)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("result", [7, None, "", "über\ud83d\nus", ["a", None], {"b": [1.5]}, "a" * 3_000_000])
def test_the_result_of_another_process_is_what_the_work_returns(result: object) -> None:
    assert limited(result) == result


def test_the_work_changes_nothing_here() -> None:
    here: list[int] = []
    assert limited(lambda: here.append(1) or len(here)) == 1
    assert not here
    assert limited(os.getpid) != os.getpid()


def test_work_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "begun").touch()
        time.sleep(2)
        (tmp_path / "ended").touch()

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        limited(work, seconds=0.5)
    assert time.monotonic() - began < 1.5
    time.sleep(2)
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]


@pytest.mark.skipif(not SIZES.exists(), reason="this system tells no process how much it has mapped")
def test_work_that_takes_too_much_memory_is_refused_it() -> None:
    assert limited(lambda: len(bytearray(MEMORY // 4))) == MEMORY // 4
    # Far more than what earlier tests may have freed: what is mapped already is not refused.
    with pytest.raises(MemoryError):
        limited(lambda: bytearray(100 * MEMORY))
    assert len(bytearray(2 * MEMORY)) == 2 * MEMORY


@pytest.mark.parametrize("work", [lambda: 1 // 0, lambda: os._exit(1), die, lambda: object()])
def test_work_that_raises_or_dies_is_told_from_work_that_answers(work: object) -> None:
    with pytest.raises(ChildProcessError):
        limited(work)


def test_no_process_and_no_file_is_left() -> None:
    before = os.listdir("/dev/fd")
    for work in (os.getpid, die, lambda: time.sleep(9)):
        try:
            pid = limited(work, seconds=0.3)
        except (ChildProcessError, TimeoutError):
            continue
        with pytest.raises(ProcessLookupError):
            os.kill(int(str(pid)), 0)
    assert os.listdir("/dev/fd") == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
