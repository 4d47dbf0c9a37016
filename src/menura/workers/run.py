"""Jobs become results in worker processes; what a dying worker leaves undone is done again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from menura.errors import NumericalError
from menura.workers.executors import Workers, surroundings, take_over

DEATHS_AT_MOST = 5  # one after the other, with nothing done between them
JOBS_AT_ONCE = 4  # a worker, of an executor whose results come together

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Lost:
    """In place of a result: the worker died, and died again when the job was done alone."""


def results(
    task: Callable[[Job], Result], jobs: Sequence[Job], workers: Workers, *, first_alone: bool = False
) -> Iterator[tuple[int, Result | Lost]]:
    """Yield each job's place and result, in the order in which they are done.

    A job gets one thread, so that its result depends neither on the number of workers nor on the executor. ``task`` is
    a function of a module, so that workers can import it; what it keeps for its next job, it keeps in that module.
    With ``first_alone`` the other jobs begin when the first is done: they find what it fetched and made.

    When a worker dies, its pool is started anew. The jobs that were under way are done again at the end, each alone, so
    that the one which kills its worker is found: ``Lost``. Raises NumericalError where workers die again and again and
    nothing is done between; all that a task raises is raised here.
    """
    if workers.count == 1:
        with one_thread():
            for place, job in enumerate(jobs):
                yield place, task(job)
        return
    with workers.kind.running(workers.count):
        yield from _Pool(task, jobs, workers).results(first_alone=first_alone)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread while the block runs."""
    import torch  # noqa: PLC0415  # most commands that name an executor have loaded no model yet

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass
class _Pool(Generic[Job, Result]):
    """The jobs of one call, and which of them were given to workers and are not done."""

    task: Callable[[Job], Result]
    jobs: Sequence[Job]
    workers: Workers
    _under_way: set[int] = field(default_factory=set)

    def results(self, *, first_alone: bool) -> Iterator[tuple[int, Result | Lost]]:
        waiting = list(range(len(self.jobs)))
        suspects: list[int] = []  # under way when a worker died
        deaths_in_a_row = 0
        while waiting or suspects:
            alone = not waiting
            batch = suspects[:1] if alone else waiting
            try:
                for place, result in self._round(
                    batch, first_alone=first_alone and deaths_in_a_row == 0 and 0 in batch
                ):
                    (suspects if alone else waiting).remove(place)
                    deaths_in_a_row = 0
                    yield place, result
            except self.workers.kind.deaths() as error:
                deaths_in_a_row += 1
                if deaths_in_a_row == DEATHS_AT_MOST:
                    raise _dying() from error
                lost = [place for place in batch if place in self._under_way]
                if alone:
                    suspects = suspects[1:]
                    yield from ((place, Lost()) for place in batch)
                else:
                    suspects += lost
                    waiting = [place for place in waiting if place not in lost]

    def _round(self, places: Sequence[int], *, first_alone: bool) -> Iterator[tuple[int, Result]]:
        """Yield the results of some jobs from one pool; raises as the executor does where a worker dies."""
        from joblib import Parallel  # noqa: PLC0415

        as_done, count = self.workers.kind.as_done, self.workers.count
        settings: dict[str, Any] = {"n_jobs": count, "batch_size": 1, "pre_dispatch": "n_jobs"}
        settings["return_as"] = "generator_unordered" if as_done else "list"
        self._under_way.clear()
        with Parallel(**settings) as parallel:
            for part in _parts(places, len(places) if as_done else JOBS_AT_ONCE * count, first_alone=first_alone):
                for place, result in parallel(self._calls(part)):
                    self._under_way.discard(place)
                    yield place, result

    def _calls(self, places: Sequence[int]) -> Iterator[Any]:
        from joblib import delayed  # noqa: PLC0415

        shared = surroundings()
        for place in places:
            self._under_way.add(place)
            yield delayed(_done)(self.task, shared, place, self.jobs[place])


def _done(task: Callable[[Job], Result], shared: dict[str, Any], place: int, job: Job) -> tuple[int, Result]:
    """Do one job in a worker."""
    take_over(shared)
    return place, task(job)


def _parts(places: Sequence[int], size: int, *, first_alone: bool) -> Iterator[Sequence[int]]:
    rest = places[1:] if first_alone else places
    if first_alone:
        yield places[:1]
    for start in range(0, len(rest), size):
        yield rest[start : start + size]


def _dying() -> NumericalError:
    return NumericalError(
        f"{DEATHS_AT_MOST} workers died one after the other, and nothing was done between",
        hint="fewer at once: -j 1; each worker holds a base of its own, and memory may be short",
        code="lost_worker",
    )
