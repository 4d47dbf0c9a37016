"""Bytes become a file, all of them or none: a crash at any moment leaves the old file or the new one."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from menura.errors import StorageError


def write_whole(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``, on the disk when this returns.

    StorageError leaves everything as it was, unless the folder itself could not be synced: then the new content is
    there, and may be gone after a power cut.
    """
    with reporting(path, "cannot be written: "):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                Path(name).chmod(_mode(path))
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync(path.parent)


@contextmanager
def reporting(path: Path, doing: str = "") -> Iterator[None]:
    """Turn what the system says of a file into a StorageError that names it."""
    try:
        yield
    except OSError as error:
        said = f"{doing}{error.strerror or error}"
        if error.errno == errno.EFBIG:
            hint = "raise the limit of file sizes (ulimit -f); nothing was changed"
            raise StorageError(said, place=str(path), hint=hint, code="storage_full") from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(next(folder for folder in (path, *path.parents) if folder.exists())).free
            hint = "free some space; nothing was changed"
            raise StorageError(
                f"{said} ({free / 2**20:.1f} MiB free)", place=str(path), hint=hint, code="storage_full"
            ) from error
        code = "missing" if isinstance(error, FileNotFoundError) else None
        raise StorageError(said, place=str(path), code=code) from error


def sync(path: Path) -> None:
    """Make a file, or a folder's entries, last through a power cut; Windows opens no folder, and keeps them itself."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mode(path: Path) -> int:
    """Return the old file's permissions, or read and write for the owner alone: dialogues are private."""
    return path.stat().st_mode & 0o777 if path.exists() else 0o600
