"""A run's folder: its settings, its trace, its state; one process at a time."""

import fcntl
import json
import os
import platform
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import yaml

from menura.artefacts.files import read_json, write_json, write_text
from menura.artefacts.loading import Vocabulary
from menura.corpus.whole_file import reporting
from menura.errors import BusyError, ConfigError, DataError, Problem, Stopped
from menura.training.config import RunConfig, as_json, differences
from menura.training.overrides import of_written

FILES = (
    *("run.json", "config.yaml", "command.txt", "env.json", "data.lock.json", "vocabulary.json"),
    *("STATUS.json", "metrics.jsonl", "best.safetensors", "masks.safetensors"),
)  # each written whole or not at all
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


@dataclass(frozen=True)
class Run:
    """A folder that a run lives in; the same command finds it again and goes on."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        """Where generations of training state lie."""
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        """One JSON object a step."""
        return self.folder / "metrics.jsonl"

    @property
    def best(self) -> Path:
        """The weights of the best check on held-back personas."""
        return self.folder / "best.safetensors"

    @property
    def masks(self) -> Path:
        """What each training persona keeps, where the method asks for it."""
        earlier = self.folder / "structures.safetensors"  # as earlier versions called it
        return earlier if earlier.exists() else self.folder / "masks.safetensors"

    def open(self, config: RunConfig, sources: dict[str, Any], *, changed_allowed: bool = False) -> None:
        """Write the settings down, or compare them with those written; DataError with every difference.

        ``sources`` are hashes of what the run reads: base, data, split.
        """
        now = {"settings": as_json(config), "sources": sources}
        path = self.folder / "run.json"
        if path.exists():
            changed = differences(_as_of_now(read_json(path)), now)
            if changed and not changed_allowed:
                hint = "use another --out, --fresh to start anew, or --allow-config-change"
                problems = [
                    Problem("config_changed", line, str(path), hint if i == 0 else "") for i, line in enumerate(changed)
                ]
                raise DataError.of(problems)
            if changed:
                self.log(f"settings changed on purpose: {'; '.join(changed)}")
        self._sweep()
        write_json(path, now)
        write_text(self.folder / "config.yaml", yaml.safe_dump(now["settings"], sort_keys=False))
        write_text(self.folder / "command.txt", " ".join(sys.argv) + "\n")
        write_json(self.folder / "env.json", environment())

    def _sweep(self) -> None:
        """Delete what a killed process had half written; the lock says that nobody else is writing."""
        for name in FILES:
            for left in self.folder.glob(f".{name}.*"):
                left.unlink()

    def write_split(self, record: dict[str, Any]) -> None:
        """Write down which personas and dialogues stand on which side."""
        write_json(self.folder / "data.lock.json", record)

    def write_vocabulary(self, vocabulary: Vocabulary | None) -> None:
        """Write down the words and people that a model over words stands on; nothing for others."""
        if vocabulary:
            vocabulary.write(self.folder)

    def status(self, state: str, **details: Any) -> None:
        """Say how the run stands: running, done, failed, interrupted."""
        write_json(self.folder / "STATUS.json", {"state": state, **details})

    def log(self, line: str) -> None:
        """Append a line to the run's log."""
        with reporting(self.folder), (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def note(self, **measured: Any) -> None:
        """Append one step's figures to the trace."""
        with reporting(self.folder), self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(measured) + "\n")

    def trace(self) -> list[dict[str, Any]]:
        """Return the trace so far; a half line at the end, left by a kill, is no part of it."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def cut_trace(self, step: int) -> None:
        """Drop what was noted after ``step``: those steps are about to be taken again."""
        kept = [json.dumps(entry) for entry in self.trace() if entry["step"] <= step]
        write_text(self.metrics, "".join(f"{line}\n" for line in kept))

    def clear(self) -> None:
        """Delete everything but the lock."""
        for path in self.folder.iterdir():
            if path.name == "lock":
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder; BusyError, naming the process, if another one does. A dead process holds nothing."""
        with reporting(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / "lock").open("a+", encoding="utf-8")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise BusyError(
                    f"another process works in this run ({file.read().strip()})",
                    place=str(self.folder),
                    hint="wait for it, or choose another --out",
                ) from error
            file.truncate(0)
            file.write(f"pid {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)  # before the folder is free, so that nobody else's name is erased


def environment() -> dict[str, Any]:
    """Return the versions and the machine a run's numbers hold for."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: version(name) for name in PACKAGES},
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
    }


class Signals:
    """Remembers SIGINT and SIGTERM, so that a loop can stop at a whole step; a second one stops at once.

    With ``second_ends`` false a second one does nothing, nor does any after the loop: the process is ending.
    """

    def __init__(self, *, second_ends: bool = True) -> None:
        self.caught: int | None = None
        self._second_ends = second_ends

    @contextmanager
    def watched(self) -> Iterator["Signals"]:
        """Catch both signals while the block runs."""
        before = {number: signal.signal(number, self._catch) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler if self._second_ends else signal.SIG_IGN)

    def _catch(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.caught is None:
            self.caught = number
        elif self._second_ends:
            os._exit(128 + number)

    def stop(self, message: str) -> Stopped:
        """Return the error to raise once the state is saved."""
        assert self.caught is not None
        return Stopped(self.caught, message)


def _as_of_now(written: dict[str, Any]) -> dict[str, Any]:
    """Return what a run wrote down, with the usual values of settings that came since."""
    try:
        return {**written, "settings": as_json(of_written(written["settings"]))}
    except (ConfigError, KeyError):  # what this version does not know, or what is not there, is told as it is
        return written
