"""Jobs that workers import: quick ones, one that kills its worker once or always, and one that fails."""

import os
import signal
import time
from pathlib import Path


def squared(job: int) -> tuple[int, int]:
    """Return a square, and how many threads it may be computed with."""
    import torch  # noqa: PLC0415  # the other jobs' workers start faster without it

    return job * job, torch.get_num_threads()


def killed_once(job: int) -> int:
    """Return the job; the worker of the third one is killed the first time."""
    if job == 3 and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def killed_always(job: int) -> int:
    """Return the job, except the third one, which no worker survives."""
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return job


def surrounded(job: int) -> tuple[str, str | None]:
    """Return the folder and the workspace that a worker sees."""
    del job
    return os.getcwd(), os.environ.get("MENURA_HOME")


def failing(job: int) -> int:
    """Return the job; the second one fails."""
    if job == 2:
        raise ValueError("the second")
    return job
