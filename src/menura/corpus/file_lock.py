"""A lock on an open file, which the system frees when the file is closed or the process dies, on Windows too."""

import errno
import os
import time

try:
    import fcntl
except ImportError:  # Windows, which has msvcrt
    fcntl = None  # type: ignore[assignment]

BEYOND = 1 << 30  # the byte that is locked on Windows: what others read lies before it
HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)  # another process has it
BETWEEN_TRIES = 0.02  # seconds


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
