"""The processes of one run, started in a moment: forked from one that has imported everything."""

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from menura.cli import main
from menura.cli import train as verb
from menura.training import torchrun
from menura.training.trainer import Training

PATIENCE = 150.0  # seconds in which all has to have ended
Mishap = Callable[[int], None]  # what befalls a rank, set up before it begins


@dataclass(frozen=True)
class Ended:
    """How the ranks of a run ended, in their order; ``None`` is the code of one that had to be killed."""

    codes: list[int | None]
    said: list[str]  # on both streams
    seconds: float


def run(words: Sequence[Sequence[str]], folder: Path, mishap: Mishap | None = None) -> Ended:
    """Run one command line a rank, as a launcher would, and wait until all have ended."""
    return ended([(_command, (list(line), mishap)) for line in words], folder)


def ended(tasks: Sequence[tuple[Callable[..., None], tuple[Any, ...]]], folder: Path) -> Ended:
    """Call one function a rank, each in a process of its own that the ranks' variables are set in."""
    server = _server()
    folder.mkdir(parents=True, exist_ok=True)
    begun, variables, files = time.monotonic(), _variables(len(tasks)), []
    processes = []
    for rank, (function, given) in enumerate(tasks):
        files.append(folder / f"rank-{rank}.out")
        mine = {**variables, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        processes.append(server.Process(target=_ranked, args=(mine, files[-1], function, given)))
    try:
        for process in processes:
            process.start()
        codes = [_code(process, begun + PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()  # a stopped one too
    return Ended(codes, [file.read_text(encoding="utf-8") for file in files], time.monotonic() - begun)


def begin(words: Sequence[str], home: Path, said: Path) -> Any:
    """Begin one command line in a process of its own, which says into a file what it says."""
    process = _server().Process(target=_ranked, args=({"MENURA_HOME": str(home)}, said, _command, (list(words), None)))
    process.start()
    return process


def _server() -> Any:
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["menura.cli.main", "menura.training.trainer", "menura.training.run_setup"])
    return server


def _code(process: Any, until: float) -> int | None:
    """Wait for a process; one that stopped itself is waited for until all others could have ended."""
    while process.is_alive() and time.monotonic() < until and not _stopped(process.pid):
        time.sleep(0.02)
    code: int | None = process.exitcode
    return code


def _stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:  # it has ended, or this system has no such files
        return False
    return stat.rpartition(")")[2].split()[0] == "T"


def _variables(size: int) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    paths = os.pathsep.join(path for path in sys.path if path)
    home = os.environ["MENURA_HOME"]
    about = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(size)}
    return {**about, "MENURA_HOME": home, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}


def _ranked(variables: Mapping[str, str], file: Path, function: Callable[..., None], given: tuple[Any, ...]) -> None:
    os.environ.update(variables)
    torch.set_num_threads(1)
    with file.open("w", encoding="utf-8") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
    function(*given)


def _command(words: list[str], mishap: Mishap | None) -> None:
    if mishap:
        mishap(int(os.environ["RANK"]))
    sys.argv = ["menura", *words]
    sys.exit(main.run(words))


@dataclass(frozen=True)
class Signalled:
    """One rank sends itself a signal when it has taken a step."""

    rank: int
    step: int
    number: signal.Signals
    missed: int = torchrun.BEATS_MISSED

    def __call__(self, rank: int) -> None:
        """Set it up."""
        torchrun.BEATS_MISSED = self.missed
        shown = verb._TrainProgress.step

        def step(progress: Any, step: int, *more: Any) -> None:
            shown(progress, step, *more)
            if rank == self.rank and step == self.step:
                os.kill(os.getpid(), self.number)

        verb._TrainProgress.step = step  # type: ignore[method-assign]


@dataclass(frozen=True)
class Poisoned:
    """One rank finds its weights to be no numbers from a step on."""

    rank: int
    step: int

    def __call__(self, rank: int) -> None:
        """Set it up."""
        share = Training._share_of_gradient

        def poisoned(training: Training, step: int, *lowering: Any) -> Any:
            if rank == self.rank and step == self.step:
                next(iter(training.weights.values())).data.view(-1)[0] = torch.nan
            return share(training, step, *lowering)

        Training._share_of_gradient = poisoned  # type: ignore[method-assign]


@dataclass(frozen=True)
class Broken:
    """One rank has a bug that a step brings out."""

    rank: int
    step: int

    def __call__(self, rank: int) -> None:
        """Set it up."""
        share = Training._share_of_gradient

        def broken(training: Training, step: int, *lowering: Any) -> Any:
            if rank == self.rank and step == self.step:
                raise LookupError("made up")
            return share(training, step, *lowering)

        Training._share_of_gradient = broken  # type: ignore[method-assign]
