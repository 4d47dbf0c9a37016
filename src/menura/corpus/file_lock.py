"""A lock on an open file, which the system frees when the file is closed or the process dies, on Windows too."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from menura.corpus.atomic_files import reporting
from menura.errors import BusyError

try:
    import fcntl
except ImportError:  # Windows, which has msvcrt
    fcntl = None  # type: ignore[assignment]

BEYOND = 1 << 30  # the byte that is locked on Windows: what others read lies before it
HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # another process has it
BETWEEN_TRIES = 0.005  # seconds
LONGEST = 60.0  # seconds: a write takes a fraction of one


def try_lock(descriptor: int) -> bool:
    """Lock an open file, and return whether that could be done at once; False: somebody else has locked it."""
    try:
        _lock(descriptor)
    except OSError as error:
        if error.errno not in HELD:
            raise
        return False
    return True


def lock(descriptor: int) -> None:
    """Lock an open file as soon as nobody else has."""
    while not try_lock(descriptor):
        time.sleep(BETWEEN_TRIES)


@contextmanager
def held(path: Path, doing: str) -> Iterator[None]:
    """Hold a file beside what several processes change, by this thread alone; waits for others at most a minute.

    It is not taken a second time by who holds it. Raises BusyError, which names what the others are ``doing``.
    """
    with reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        ends = time.monotonic() + LONGEST
        while not try_lock(descriptor):
            if time.monotonic() >= ends:
                raise BusyError(f"another process is {doing}", hint="end the process that does it, and try again")
            time.sleep(BETWEEN_TRIES)
        yield
    finally:
        os.close(descriptor)  # which also lets go


def _lock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt  # noqa: PLC0415  # only Windows has it

    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, BEYOND, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    finally:
        os.lseek(descriptor, place, os.SEEK_SET)
