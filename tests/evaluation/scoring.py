"""What workers import to score made-up people, one of whom kills a worker once."""

import os
import signal
from pathlib import Path

from menura.evaluation.folds import PersonaDraw
from menura.evaluation.in_workers import Done, Job, do


def killed_once(job: Job) -> Done:
    """Do a job; the worker of the second persona is killed the first time."""
    if job.part == PersonaDraw(2, 0, job.source.persona_ids[1]) and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return do(job)
