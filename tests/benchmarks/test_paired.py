import pytest

from benchmarks.paired import Ratio, against, ratio, timed


class Clock:
    """A clock that the ways themselves move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []

    def __call__(self) -> float:
        return self.now

    def way(self, name: str, *seconds: float):
        left = iter(seconds)

        def run() -> None:
            self.log.append(name)
            self.now += next(left)

        return run


def test_the_round_that_warms_up_does_not_count() -> None:
    clock = Clock()
    found = timed({"menura": clock.way("menura", 100, 1, 2), "peer": clock.way("peer", 50, 3, 4)}, 2, clock)
    assert found == {"menura": [1, 2], "peer": [3, 4]}


def test_every_way_begins_in_its_turn() -> None:
    clock = Clock()
    timed({name: clock.way(name, 1, 1, 1, 1) for name in "abc"}, 3, clock)
    assert clock.log[::3] == ["a", "b", "c", "a"]
    assert all(sorted(clock.log[i : i + 3]) == ["a", "b", "c"] for i in range(0, 12, 3))


def test_rounds_are_paired_before_the_median_is_taken() -> None:
    found = ratio("x", "peer", [1, 10, 100], [3, 20, 100])
    assert (found.median, found.lowest, found.highest) == (2, 1, 3)  # the ratio of the medians would be 2 too
    assert ratio("x", "peer", [1, 2, 4], [4, 2, 4]).median == 1  # that of the medians would be 2


def test_only_peers_are_compared_with() -> None:
    seconds = {"menura": [1.0], "menura, anew": [2.0], "peer": [4.0]}
    assert [(r.peer, r.median) for r in against("x", "menura, anew", seconds, {})] == [("peer", 2)]


@pytest.mark.parametrize(("median", "at_least", "met"), [(1.9, 1.9, True), (1.89, 1.9, False), (0.1, None, True)])
def test_a_promise_is_met_from_its_value_on(median: float, at_least: float | None, met: bool) -> None:
    found = Ratio("x", "peer", median, median, median, 1, at_least)
    assert found.met == met
    assert found.cells()[-1] == ("" if at_least is None else "yes" if met else "NO")
