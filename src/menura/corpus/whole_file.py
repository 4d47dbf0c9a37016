"""Bytes become a file, all of them or none: a crash at any moment leaves the old file or the new one."""

import os
import tempfile
from pathlib import Path

from menura.errors import StorageError


def write_whole(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``, on the disk when this returns; StorageError leaves everything as it was."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), _mode(path))
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", place=str(path)) from error


def _mode(path: Path) -> int:
    """Return the old file's permissions, or read and write for the owner alone: dialogues are private."""
    return path.stat().st_mode & 0o777 if path.exists() else 0o600


def _sync_folder(folder: Path) -> None:
    # Without this the new name itself may be lost with the power.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
