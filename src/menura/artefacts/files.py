"""Files that are written atomically, and their checksums."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from menura.corpus.atomic_files import reporting, sync, write_whole
from menura.errors import DataError


def home() -> Path:
    """Return the workspace: ``$MENURA_HOME``, or ``.menura`` in the user's home."""
    return Path(os.environ.get("MENURA_HOME") or Path.home() / ".menura").expanduser()


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with reporting(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes atomically, creating the folder if needed."""
    with reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys in the given order."""
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
    """Yield a temporary folder beside ``path`` that replaces it when the block ends without an error."""
    with reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part"))
    try:
        yield temporary
        with reporting(path):
            for file in temporary.iterdir():
                sync(file)
            sync(temporary)
            if path.exists():
                shutil.rmtree(path)
            os.replace(temporary, path)
            sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
