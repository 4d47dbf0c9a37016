"""Who starts the worker processes: joblib's own pool, Ray or dask, each through joblib."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from menura.errors import ConfigError, Problem, shown

INSTALL = 'pip install "menura[{}]"'
LOCAL = "local"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Executor:
    """What joblib calls an executor, what it needs, and how it is started and stopped.

    ``deaths`` returns the exceptions by which it says that a worker died. ``as_done`` tells whether results come one by
    one; else they come together, so that jobs are given to it by the handful.
    """

    backend: str
    package: str  # that must be installed beside joblib; empty: none
    running: Callable[[int], AbstractContextManager[None]]
    deaths: Callable[[], tuple[type[BaseException], ...]]
    as_done: bool = True


@dataclass(frozen=True)
class Workers:
    """Where independent jobs are done: an executor by name, and how many worker processes there are.

    With one the jobs are done in this process, one after the other, whatever the executor.
    """

    executor: str = LOCAL
    count: int = 1

    def __post_init__(self) -> None:
        """Refuse an executor that is none or is not installed, and less than one worker; all that is wrong at once."""
        problems = []
        if self.count < 1:
            problems.append(Problem("config", f"-j {self.count}: at least 1 worker is needed", hint="-j 2"))
        if self.executor not in EXECUTORS:
            message = f"--executor {shown(self.executor)}: {', '.join(EXECUTORS)} wanted"
            problems.append(Problem("config", message, hint="--executor local"))
        elif (package := self.kind.package) and find_spec(package) is None:
            message = f"--executor {self.executor} needs {package}, which is not installed"
            problems.append(Problem("missing_package", message, hint=INSTALL.format(self.executor)))
        if problems:
            raise ConfigError.of(problems)

    @property
    def kind(self) -> Executor:
        """The executor."""
        return EXECUTORS[self.executor]


@contextmanager
def _local(count: int) -> Iterator[None]:
    from joblib import parallel_config  # noqa: PLC0415  # most commands need no workers
    from joblib.externals.loky import get_reusable_executor  # noqa: PLC0415

    del count
    try:
        with parallel_config(backend="loky", inner_max_num_threads=1):
            yield
    finally:
        get_reusable_executor().shutdown(wait=True)  # idle workers would keep a base in memory each


@contextmanager
def _ray(count: int) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to anybody
    import ray  # noqa: PLC0415  # an extra
    from joblib import parallel_config  # noqa: PLC0415
    from ray.util.joblib import register_ray  # noqa: PLC0415

    ours = not ray.is_initialized()
    if ours:
        own = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": count, "include_dashboard": False}
        ray.init(log_to_driver=False, logging_level="ERROR", **own)
    try:
        register_ray()
        with parallel_config(backend="ray"):
            yield
    finally:
        if ours:
            ray.shutdown()


@contextmanager
def _dask(count: int) -> Iterator[None]:
    import dask  # noqa: PLC0415  # an extra
    from distributed import Client, LocalCluster  # noqa: PLC0415
    from joblib import parallel_config  # noqa: PLC0415

    if dask.config.get("scheduler-address", None):
        with Client(), parallel_config(backend="dask"):
            yield
        return
    cluster = LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None, silence_logs="ERROR")
    with cluster, Client(cluster), parallel_config(backend="dask"):
        yield


def _local_deaths() -> tuple[type[BaseException], ...]:
    from joblib.externals.loky.process_executor import BrokenProcessPool  # noqa: PLC0415

    return (BrokenProcessPool,)


def _ray_deaths() -> tuple[type[BaseException], ...]:
    from ray import exceptions  # noqa: PLC0415

    return (exceptions.RayActorError, exceptions.WorkerCrashedError, exceptions.OutOfMemoryError)


def _dask_deaths() -> tuple[type[BaseException], ...]:
    from distributed.scheduler import KilledWorker  # noqa: PLC0415

    return (KilledWorker,)


EXECUTORS: dict[str, Executor] = {
    LOCAL: Executor("loky", "", _local, _local_deaths),
    "ray": Executor("ray", "ray", _ray, _ray_deaths, as_done=False),
    "dask": Executor("dask", "distributed", _dask, _dask_deaths),
}


def surroundings() -> dict[str, Any]:
    """Return what a worker must share with this process: the folder it stands in, and Menura's variables."""
    return {"folder": os.getcwd(), "variables": {k: v for k, v in os.environ.items() if k.startswith("MENURA_")}}


def take_over(shared: dict[str, Any]) -> None:
    """Take over the surroundings of another process, and compute with one thread from now on."""
    os.environ.update(dict.fromkeys(THREADS, "1"))
    if torch := sys.modules.get("torch"):  # else it reads these when it is imported
        torch.set_num_threads(1)
    os.chdir(shared["folder"])
    for name in [name for name in os.environ if name.startswith("MENURA_")]:
        os.environ.pop(name)
    os.environ.update(shared["variables"])
