"""Several processes train one run: what a rank is to the loop, and what all ranks do alike.

Each step they split the tasks and add up the gradients; rank 0 alone writes. How they talk stands in ``torchrun``.
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
    """The processes of one run, as one of them sees them."""

    @property
    def rank(self) -> int:
        """Which of them this is; 0 is the one that writes."""

    @property
    def size(self) -> int:
        """How many they are."""

    def exchange(self, mine: Any) -> list[Any]:
        """Return what each rank told, in their order, once all have; plain JSON values. PeerError if one is lost."""

    def add(self, weights: Sequence[Tensor]) -> None:
        """Make each gradient the sum over the ranks; a weight that has none on any rank stays without."""

    def from_first(self, state: Checkpoint) -> Checkpoint:
        """Return rank 0's state; the others' own is not looked at."""

    def in_turn(self, make: Callable[[], Made]) -> Made:
        """Return what ``make`` returns here; a machine's first rank goes first, so that it alone fetches what lacks."""


@dataclass(frozen=True)
class Alone:
    """One process, which is all there is."""

    rank: int = 0
    size: int = 1

    def exchange(self, mine: Any) -> list[Any]:
        """Return one's own words."""
        return [mine]

    def add(self, weights: Sequence[Tensor]) -> None:
        """Have nothing to add."""

    def from_first(self, state: Checkpoint) -> Checkpoint:
        """Return the state."""
        return state

    def in_turn(self, make: Callable[[], Made]) -> Made:
        """Make it."""
        return make()


ALONE = Alone()


class Met:
    """What a meeting is about: ``mine`` is set inside of it, ``told`` is each rank's when it is over."""

    def __init__(self) -> None:
        self.mine: Any = None
        self.told: list[Any] = []


@contextmanager
def meeting(ranks: Ranks) -> Iterator[Met]:
    """Do something on every rank and tell of it; an error of one rank is raised by all, that of the lowest rank."""
    met, failed = Met(), None
    try:
        yield met
    except PeerError:
        raise  # nobody to tell
    except MenuraError as error:
        failed = error
    words = ranks.exchange({"told": met.mine, "failed": _packed(failed)})
    first = next((rank for rank, word in enumerate(words) if word["failed"]), None)
    if first is not None:
        raise failed if failed and first == ranks.rank else _unpacked(words[first]["failed"], first)
    met.told = [word["told"] for word in words]


def _packed(error: MenuraError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {"kind": type(error).__name__, "problems": [asdict(problem) for problem in error.problems]}


def _unpacked(packed: Mapping[str, Any], rank: int) -> MenuraError:
    """Return the error of another rank; its first problem says whose it is."""
    problems = [Problem(**problem) for problem in packed["problems"]]
    first = asdict(problems[0]) | {"message": f"rank {rank}: {problems[0].message}"}
    return _kinds(MenuraError)[packed["kind"]].of([Problem(**first), *problems[1:]])


def _kinds(kind: type[MenuraError]) -> dict[str, type[MenuraError]]:
    """Return an error's class and all below it by name."""
    below = [_kinds(child) for child in kind.__subclasses__()]
    return {kind.__name__: kind} | {name: child for kinds in below for name, child in kinds.items()}


def check_alike(ranks: Ranks, about: Callable[[], Mapping[str, Any]]) -> None:
    """Raise DataError on every rank, with each difference, unless all tell the same of themselves."""
    if ranks.size == 1:
        return
    told = ranks.exchange(about())
    lines = [
        f"rank {rank} differs from rank 0: {line}"
        for rank in range(1, ranks.size)
        for line in differences(told[0], told[rank])
    ]
    if lines:
        hint = "give every rank the same Menura, torch, settings, base and data"
        raise DataError.of([Problem("ranks_differ", line, hint="" if i else hint) for i, line in enumerate(lines)])


def identity(settings: Mapping[str, Any], sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return what has to be the same on every rank."""
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


class Elsewhere(Run):
    """A run as the other ranks see it: rank 0 writes it, maybe on another machine; here nothing is written."""

    def open(self, config: RunConfig, sources: dict[str, Any], *, changed_allowed: bool = False) -> None:
        """Leave it to rank 0."""

    def write_split(self, record: dict[str, Any]) -> None:
        """Leave it to rank 0."""

    def write_vocabulary(self, vocabulary: Vocabulary | None) -> None:
        """Leave it to rank 0."""

    def status(self, state: str, **details: Any) -> None:
        """Leave it to rank 0."""

    def log(self, line: str) -> None:
        """Leave it to rank 0."""

    def note(self, **measured: Any) -> None:
        """Leave it to rank 0."""

    def cut_trace(self, step: int) -> None:
        """Leave it to rank 0."""

    def clear(self) -> None:
        """Leave it to rank 0."""

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Leave it to rank 0."""
        yield
