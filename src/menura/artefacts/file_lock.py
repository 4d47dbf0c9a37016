"""A file beside what several processes change: who holds it is alone; the system frees that of a dead process."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from menura.corpus.atomic_files import reporting
from menura.errors import BusyError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

SECONDS = 60.0  # a write takes a fraction of one
BETWEEN = 0.005


@contextmanager
def held(path: Path, doing: str) -> Iterator[None]:
    """Hold the file ``path`` alone, by this thread; waits for others at most a minute.

    It is not taken a second time by who holds it. Raises BusyError, which names what the others are ``doing``.
    """
    with reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        ends = time.monotonic() + SECONDS
        while not _taken(descriptor):
            if time.monotonic() >= ends:
                hint = "end the process that does it, and try again"
                raise BusyError(f"another process is {doing}", hint=hint)
            time.sleep(BETWEEN)
        yield
    finally:
        os.close(descriptor)  # which also lets go


if sys.platform == "win32":

    def _taken(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:

    def _taken(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
