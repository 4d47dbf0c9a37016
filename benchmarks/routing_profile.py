"""Row group 8: where a training step of AR and one of AR+ spend their time, by PyTorch's own profiler; no ratios."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile

from benchmarks.paired import Figures, Row
from benchmarks.routing import batch_of, made, optimizer, step

SYSTEMS = ("ar", "arplus")
SHOWN = 12  # of the operations that take longest
KINDS = {
    "aten::mm": "matrix products",
    "aten::addmm": "matrix products",
    "aten::bmm": "matrix products",
    "aten::baddbmm": "matrix products",
    "aten::random_": "dropout: drawing and comparing",
    "aten::ge_": "dropout: drawing and comparing",
}


def rows() -> dict[str, Row]:
    """Return the rows by name."""
    return {"routing-profile": partial(run, "cpu")}


def run(size: str, rounds: int) -> Iterator[Figures]:
    """Give a table of milliseconds a step, averaged over ``rounds`` steps of each system."""
    spent = {system: milliseconds(system, size, rounds) for system in SYSTEMS}
    head, *body = table(spent)
    yield Figures(tuple(head), tuple(map(tuple, body)))


def milliseconds(system: str, size: str, steps: int) -> Counter[str]:
    """Return what each operation of a training step takes by itself, without those it calls."""
    model = made(system, size)
    once = partial(step, model, optimizer(model), batch_of(model, size))
    once()  # the first one does not count
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        for _ in range(steps):
            once()
    return by_kind(watched.key_averages(), steps)


def by_kind(events: EventList, steps: int) -> Counter[str]:
    """Sum the microseconds of many steps up to milliseconds a step."""
    spent: Counter[str] = Counter()
    for event in events:
        spent[KINDS.get(event.key, event.key)] += event.self_cpu_time_total / 1e3 / steps
    return spent


def table(spent: dict[str, Counter[str]]) -> list[list[str]]:
    """Return rows of what takes longest in all systems together, the rest of it in one row, and the whole step."""
    whole = {system: sum(taken.values()) for system, taken in spent.items()}
    order = [name for name, _ in sum(spent.values(), Counter()).most_common()]

    def row(name: str, of_it: list[str]) -> list[str]:
        taken = {system: sum(spent[system][each] for each in of_it) for system in spent}
        return [name, *(f"{taken[system]:.0f} ms, {taken[system] / whole[system]:.0%}" for system in spent)]

    shown = [row(name, [name]) for name in order[:SHOWN]]
    rest = [row("everything else", order[SHOWN:])] if order[SHOWN:] else []
    return [["a training step", *spent], *shown, *rest, row("total", order)]
