"""Files that are written whole or not at all, and read with their checksum."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from menura.errors import DataError, StorageError


def home() -> Path:
    """Return the workspace: ``$MENURA_HOME``, or ``.menura`` in the user's home."""
    return Path(os.environ.get("MENURA_HOME") or Path.home() / ".menura").expanduser()


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with reporting(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def reporting(path: Path) -> Iterator[None]:
    """Turn what the system says of a file into a StorageError that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise StorageError("no such file", place=str(path), code="missing") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(_existing(path)).free
            message, hint = (
                f"no space left on the disk ({free / 2**20:.1f} MiB free)",
                "free some space; nothing was changed",
            )
            raise StorageError(message, place=str(path), hint=hint, code="storage_full") from error
        raise StorageError(error.strerror or str(error), place=str(path)) from error


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, make it durable, and put it in place in one step.

    Raises StorageError, leaving what was there as it was and no temporary file behind.
    """
    with reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        try:
            write(temporary)
            _flush(temporary)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _flush(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes whole or not at all."""
    write_whole(path, lambda temporary: _put(temporary, content))


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON, keys in the order given, whole or not at all."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON that we wrote; DataError if it is damaged."""
    with reporting(path):
        text = path.read_bytes()
    try:
        return json.loads(text)
    except ValueError as error:
        raise DataError(f"damaged: {error}", place=str(path), code="damaged") from error


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``path`` that takes its place, whole, when the block ends well."""
    with reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield temporary
        with reporting(path):
            for file in temporary.iterdir():
                _flush(file)
            _flush(temporary)
            if path.exists():
                shutil.rmtree(path)
            os.replace(temporary, path)
            _flush(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _flush(path: Path) -> None:
    """Make a file, or a folder's entries, last through a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.parents) if parent.exists())
