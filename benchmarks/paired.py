"""Ways of doing one thing are timed in turn, round by round; the result is the median ratio of the pairs."""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

OURS = "menura"  # a way whose name begins so is ours
HEAD = ["what", "peer", "ratio, median", "range", "rounds", "at least", "met"]

Way = Callable[[], object]
Seconds = Mapping[str, list[float]]  # by way, one number a round


@dataclass(frozen=True)
class Ratio:
    """How many times less of something ours takes than the peer, over ``rounds`` interleaved rounds."""

    what: str
    peer: str
    median: float
    lowest: float
    highest: float
    rounds: int
    at_least: float | None = None  # None: shown, without a target
    unit: str = "quicker"

    @property
    def met(self) -> bool:
        """Whether the median reaches what is promised; true where nothing is."""
        return self.at_least is None or self.median >= self.at_least

    def cells(self) -> list[str]:
        """Return a table's row."""
        promised = "" if self.at_least is None else f"{self.at_least:.2f}"
        verdict = "" if self.at_least is None else "yes" if self.met else "NO"
        return [
            self.what,
            self.peer,
            f"{self.median:.2f}x {self.unit}",
            f"{self.lowest:.2f} to {self.highest:.2f}",
            str(self.rounds),
            promised,
            verdict,
        ]


@dataclass(frozen=True)
class Figures:
    """Figures that are compared with nothing: a table of its own below the ratios."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def cells(self) -> list[list[str]]:
        """The table's rows, its head first."""
        return [list(self.head), *(list(row) for row in self.rows)]


Row = Callable[[int], Iterable[Ratio | Figures]]  # rounds become ratios


def markdown(cells: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table of rows, the head first."""
    head, *body = cells
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *body))


def timed(
    ways: Mapping[str, Way], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[str, list[float]]:
    """Run all ways once a round, begun by another one each time, after one round that does not count.

    The clock counts the processor's seconds of this process: all here is one thread, and a neighbour on the machine
    disturbs them less than the wall's.
    """
    names = list(ways)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        turned = number % len(names)
        for name in names[turned:] + names[:turned]:
            began = clock()
            ways[name]()
            if number:
                seconds[name].append(clock() - began)
    return seconds


def ratio(what: str, peer: str, ours: list[float], theirs: list[float], at_least: float | None = None) -> Ratio:
    """Pair the rounds of two ways."""
    paired = [their / our for our, their in zip(ours, theirs, strict=True)]
    return Ratio(what, peer, statistics.median(paired), min(paired), max(paired), len(paired), at_least)


def against(what: str, ours: str, seconds: Seconds, promised: Mapping[str, float]) -> list[Ratio]:
    """Return one way's ratios to all the others; ``promised`` says, by peer, what it must reach."""
    peers = [name for name in seconds if not name.startswith(OURS)]
    return [ratio(what, peer, seconds[ours], seconds[peer], promised.get(peer)) for peer in peers]
