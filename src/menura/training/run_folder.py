"""A run's folder: settings, trace, state; one process at a time."""

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

from menura.artefacts.code_path import TRAINING, code_path, commit, differing
from menura.artefacts.files import read_json, write_json, write_text
from menura.artefacts.loading import Vocabulary
from menura.batches.process_resources import peak_memory
from menura.corpus.atomic_files import reporting
from menura.corpus.file_lock import try_lock
from menura.errors import BusyError, ConfigError, DataError, Problem, Stopped
from menura.training.config import RunConfig, as_json, differences
from menura.training.overrides import of_written

FILES = (
    *("run.json", "config.yaml", "command.txt", "env.json", "code.json", "data.lock.json", "vocabulary.json"),
    *("STATUS.json", "metrics.jsonl", "best.safetensors", "masks.safetensors"),
)  # each written atomically
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")


@dataclass(frozen=True)
class Run:
    """The folder of a run; the same command finds it again and resumes."""

    folder: Path

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The file with one JSON object per step."""
        return self.folder / "metrics.jsonl"

    @property
    def best(self) -> Path:
        """The weights of the best evaluation on validation personas."""
        return self.folder / "best.safetensors"

    @property
    def masks(self) -> Path:
        """The masks of the training personas, for methods with masks."""
        earlier = self.folder / "structures.safetensors"  # the name in earlier versions
        return earlier if earlier.exists() else self.folder / "masks.safetensors"

    def open(self, config: RunConfig, sources: dict[str, Any], *, changed_allowed: bool = False) -> None:
        """Write the settings, or compare them with those written; DataError with every difference.

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
        """Delete files that a killed process left half written; the lock excludes other writers."""
        for name in FILES:
            for left in self.folder.glob(f".{name}.*"):
                left.unlink()

    def write_split(self, record: dict[str, Any]) -> None:
        """Write which personas and dialogues are in which split."""
        write_json(self.folder / "data.lock.json", record)

    def write_vocabulary(self, vocabulary: Vocabulary | None) -> None:
        """Write the vocabulary of a model that learns one from its data; do nothing for others."""
        if vocabulary:
            vocabulary.write(self.folder)

    def status(self, state: str, **details: Any) -> None:
        """Write the run's state (running, done, failed, interrupted), its peak memory and the code it computes with.

        ``peak_memory`` is in bytes, and the highest of all processes that have gone on with the run.
        """
        self._write_code()
        path = self.folder / "STATUS.json"
        before = read_json(path).get("peak_memory", 0) if path.exists() else 0
        write_json(path, {"state": state, "peak_memory": max(before, peak_memory()), **details})

    def _write_code(self) -> None:
        """Add this process's code to that of earlier ones; a second entry is of a run that went on with other code."""
        path = self.folder / "code.json"
        entries = read_json(path) if path.exists() else []
        code = code_path(TRAINING)
        if entries and not differing([entries[-1]["code"], code]):
            entries[-1]["code"] |= code
        else:
            entries.append({"commit": commit(), "code": code})
        write_json(path, entries)

    def log(self, line: str) -> None:
        """Append a line to the run's log."""
        with reporting(self.folder), (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def note(self, **measured: Any) -> None:
        """Append one step's figures to the trace."""
        with reporting(self.folder), self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(measured) + "\n")

    def trace(self) -> list[dict[str, Any]]:
        """Return the trace so far, without a partial last line left by a kill."""
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line) for line in lines]

    def truncate_log(self, step: int) -> None:
        """Drop the trace after ``step``: those steps will be taken again."""
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
        """Lock the folder; BusyError, which names the process, if another one has it. A dead process has no lock."""
        with reporting(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            file = (self.folder / "lock").open("a+", encoding="utf-8")
        with file:
            if not try_lock(file.fileno()):
                file.seek(0)
                raise BusyError(
                    f"another process works in this run ({file.read().strip()})",
                    place=str(self.folder),
                    hint="wait for it, or choose another --out",
                )
            file.truncate(0)
            file.write(f"pid {os.getpid()} on {platform.node()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)  # before unlocking, so that no other process's name is erased


def environment() -> dict[str, Any]:
    """Return the versions and the machine of a run."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {name: version(name) for name in PACKAGES},
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
    }


class Signals:
    """Catches SIGINT and SIGTERM, so that a loop can stop after a whole step; a second one stops at once.

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
    """Return a run's saved settings, with defaults for settings added since."""
    try:
        return {**written, "settings": as_json(of_written(written["settings"]))}
    except (ConfigError, KeyError):  # unknown or missing: compared as written
        return written
