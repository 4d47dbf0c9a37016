"""One process of ``worker``: what is asked goes in, its events come out, and it can be killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from threading import Timer
from typing import Any

from menura.errors import (
    BusyError,
    ConfigError,
    DataError,
    EpisodeError,
    MenuraError,
    MismatchError,
    NumericalError,
    PeerError,
    Problem,
    StorageError,
    UnsafeError,
)

# Of the folder that the server was started in, no module is imported.
COMMAND = (sys.executable, "-P", "-m", "menura.serve.jobs.worker")
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
ERRORS: Mapping[str, type[MenuraError]] = {
    kind.__name__: kind
    for kind in (
        *(BusyError, ConfigError, DataError, EpisodeError, MismatchError),
        *(NumericalError, PeerError, StorageError, UnsafeError),
    )
}


@dataclass(frozen=True)
class WorkerTask:
    """What a process is to do: the name of it, and its arguments as plain data."""

    kind: str
    arguments: Mapping[str, Any]


class WorkerProcess:
    """A process that does one task; it is started anew, and never forked from a server that has run torch."""

    def __init__(self, task: WorkerTask) -> None:
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, **ONE_THREAD},
        )
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it died at once, which its end tells
            line = json.dumps({"kind": task.kind, "arguments": task.arguments})
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the events as (name, data) until the process has ended; the last is ``done`` or ``failed``.

        Of a process that died ``failed`` says so, with the code ``lost_worker``.
        """
        assert self._process.stdout
        name = ""
        for line in self._process.stdout:
            event = _parsed(line)
            if event:
                name = event["event"]
                yield name, event["data"]
        exit_code = self._process.wait()
        self._close()
        if name not in ("done", "failed"):
            yield "failed", {"error": "PeerError", "problems": [_lost(exit_code)]}

    def kill(self) -> None:
        """Kill the process with all that it started; ``events`` then come to their end."""
        with suppress(ProcessLookupError):
            if self._process.poll() is not None:
                return
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:  # Windows has no groups; what it started ends with its standard input
                self._process.kill()

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()


def result_of(task: WorkerTask, seconds: float) -> dict[str, Any]:
    """Do a task in a process and return its result; the error that it failed with is raised here.

    Raises PeerError ``lost_worker`` where the process died or took longer than ``seconds``.
    """
    process = WorkerProcess(task)
    timer = Timer(seconds, process.kill)
    timer.start()
    try:
        *_, (name, data) = process.events()
    finally:
        timer.cancel()
        process.kill()
    if name == "failed":
        raise error_of(data)
    return data


def error_of(failed: Mapping[str, Any]) -> MenuraError:
    """Return the error that a process reported."""
    problems = [
        Problem(one["code"], one["message"], _place(one), one["hint"], one["level"], one["count"])
        for one in failed["problems"]
    ]
    return ERRORS.get(failed["error"], MenuraError).of(problems)


def _place(problem: Mapping[str, Any]) -> str:
    return problem["file"] if problem["line"] is None else f"{problem['file']}:{problem['line']}"


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return an event; None for half a line, which is all that a killed process may leave."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and {"event", "data"} <= event.keys() else None


def _lost(exit_code: int) -> dict[str, Any]:
    ended = f"was killed (signal {-exit_code})" if exit_code < 0 else f"ended with exit code {exit_code}"
    return {
        "level": "error",
        "code": "lost_worker",
        "message": f"the process that did this {ended}",
        "hint": "try again; if it was for want of memory, with a smaller base or fewer dialogues",
        "count": 1,
        "file": "",
        "line": None,
    }
