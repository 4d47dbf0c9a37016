"""Several processes train one run: the interface between the loop and the ranks.

At each step the ranks split the tasks and sum the gradients; rank 0 alone writes. Communication is in ``torchrun``.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from menura.artefacts.checkpoint import Checkpoint
from menura.artefacts.loading import Vocabulary
from menura.errors import DataError, MenuraError, PeerError, Problem
from menura.training.config import RunConfig, differences
from menura.training.run_folder import Run

Made = TypeVar("Made")


class Ranks(Protocol):
    """The processes of one run, seen from one of them."""

    @property
    def rank(self) -> int:
        """The rank of this process; rank 0 writes."""

    @property
    def size(self) -> int:
        """The number of ranks."""

    def all_gather_json(self, mine: Any) -> list[Any]:
        """Return each rank's ``mine``, a JSON value, in order of rank; PeerError if a rank is lost."""

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """All-reduce the parameters' gradients to their sum; one without a gradient on all ranks stays without."""

    def broadcast(self, state: Checkpoint) -> Checkpoint:
        """Broadcast rank 0's state; the state of other ranks is ignored."""

    def make_in_turn(self, make: Callable[[], Made]) -> Made:
        """Return ``make()``, called by rank 0, then by each machine's first rank, then by the others.

        So one rank alone downloads the files that are missing on a disk.
        """


@dataclass(frozen=True)
class Alone:
    """A single process."""

    rank: int = 0
    size: int = 1

    def all_gather_json(self, mine: Any) -> list[Any]:
        """Return a list of ``mine`` alone."""
        return [mine]

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Do nothing."""

    def broadcast(self, state: Checkpoint) -> Checkpoint:
        """Return the state."""
        return state

    def make_in_turn(self, make: Callable[[], Made]) -> Made:
        """Return ``make()``."""
        return make()


ALONE = Alone()


class Gathered:
    """The values of a meeting: set ``mine`` inside the block; ``told`` holds each rank's value after it."""

    def __init__(self) -> None:
        self.mine: Any = None
        self.told: list[Any] = []


@contextmanager
def synchronized(ranks: Ranks) -> Iterator[Gathered]:
    """Run the block on every rank and exchange values; an error of one rank, the lowest, is raised by all."""
    gathered, failed = Gathered(), None
    try:
        yield gathered
    except PeerError:
        raise  # no other rank
    except MenuraError as error:
        failed = error
    words = ranks.all_gather_json({"told": gathered.mine, "failed": _packed(failed)})
    first = next((rank for rank, word in enumerate(words) if word["failed"]), None)
    if first is not None:
        raise failed if failed and first == ranks.rank else _unpacked(words[first]["failed"], first)
    gathered.told = [word["told"] for word in words]


def _packed(error: MenuraError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"kind": type(error).__name__, "problems": [asdict(problem) for problem in error.problems]}


def _unpacked(packed: Mapping[str, Any], rank: int) -> MenuraError:
    """Return the error of another rank; its first problem names the rank."""
    problems = [Problem(**problem) for problem in packed["problems"]]
    first = asdict(problems[0]) | {"message": f"rank {rank}: {problems[0].message}"}
    return _kinds(MenuraError)[packed["kind"]].of([Problem(**first), *problems[1:]])


def _kinds(kind: type[MenuraError]) -> dict[str, type[MenuraError]]:
    """Return an error class and its subclasses by name."""
    below = [_kinds(child) for child in kind.__subclasses__()]
    return {kind.__name__: kind} | {name: child for kinds in below for name, child in kinds.items()}


def check_same_on_ranks(ranks: Ranks, about: Callable[[], Mapping[str, Any]]) -> None:
    """Raise DataError on every rank, with each difference, unless ``about`` returns the same on all."""
    if ranks.size == 1:
        return
    told = ranks.all_gather_json(about())
    lines = [
        f"rank {rank} differs from rank 0: {line}"
        for rank in range(1, ranks.size)
        for line in differences(told[0], told[rank])
    ]
    if lines:
        hint = "give every rank the same Menura, torch, settings, base and data"
        raise DataError.of([Problem("ranks_differ", line, hint="" if i else hint) for i, line in enumerate(lines)])


def run_fingerprint(settings: Mapping[str, Any], sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that must be the same on every rank."""
    return {
        "menura": source_sha256(),
        "torch": torch.__version__,
        "settings": dict(settings),
        "sources": dict(sources),
    }


def source_sha256() -> str:
    """Return a hash of Menura's own source files."""
    root = Path(str(files("menura")))
    summed = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        summed.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return summed.hexdigest()


class NonMainRun(Run):
    """The run folder on ranks other than 0: nothing is written, as rank 0 writes."""

    def open(self, config: RunConfig, sources: dict[str, Any], *, changed_allowed: bool = False) -> None:
        """Do nothing: rank 0 does it."""

    def write_split(self, record: dict[str, Any]) -> None:
        """Do nothing: rank 0 does it."""

    def write_vocabulary(self, vocabulary: Vocabulary | None) -> None:
        """Do nothing: rank 0 does it."""

    def status(self, state: str, **details: Any) -> None:
        """Do nothing: rank 0 does it."""

    def log(self, line: str) -> None:
        """Do nothing: rank 0 does it."""

    def note(self, **measured: Any) -> None:
        """Do nothing: rank 0 does it."""

    def truncate_log(self, step: int) -> None:
        """Do nothing: rank 0 does it."""

    def clear(self) -> None:
        """Do nothing: rank 0 does it."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Do nothing: rank 0 does it."""
        yield
