"""Two ways of doing one thing are timed in turn, round by round; what counts is the median ratio of the pairs."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """How many times quicker ours is than the peer's, over ``rounds`` interleaved rounds."""

    what: str
    peer: str
    median: float
    lowest: float
    highest: float
    rounds: int

    def cells(self) -> list[str]:
        """Return a table's row."""
        return [
            self.what,
            self.peer,
            f"{self.median:.2f}",
            f"{self.lowest:.2f} to {self.highest:.2f}",
            str(self.rounds),
        ]


def compared(what: str, peer: str, ours: Callable[[], object], theirs: Callable[[], object], *, rounds: int) -> Ratio:
    """Time both in every round, the order turned each time, after one round that does not count."""
    ratios = []
    for number in range(rounds + 1):
        pair = (ours, theirs) if number % 2 else (theirs, ours)
        first, second = (_seconds(way) for way in pair)
        mine, peers = (first, second) if number % 2 else (second, first)
        if number:
            ratios.append(peers / mine)
    return Ratio(what, peer, statistics.median(ratios), min(ratios), max(ratios), rounds)


def _seconds(way: Callable[[], object]) -> float:
    began = time.perf_counter()
    way()
    return time.perf_counter() - began
