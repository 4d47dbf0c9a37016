"""The body of a request becomes a file of the workspace, which stays until a job has read it, or for a day."""

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from menura.artefacts.files import home, read_json, write_bytes
from menura.corpus.atomic_files import reporting
from menura.corpus.chats.files import ENDINGS
from menura.errors import DataError, OverloadedError, StorageError
from menura.serve.database.chats import unknown

FOLDER, ABOUT = "uploads", "about.json"
KEPT_SECONDS = 86_400.0
UPLOADS_PER_OWNER = 32
NAME_LIMIT = 255  # characters of a file's name, which is shown and never becomes a path
ID = re.compile("[0-9a-f]{32}")
PACKED = (".zip", ".persona")  # endings that say how a file is read, beside those of chats
MIB = 1 << 20
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)  # on Windows, bytes as they are


@dataclass(frozen=True)
class Upload:
    """One file that was sent: ``filename`` is what its sender calls it, ``path`` where it lies."""

    id: str
    owner: str
    filename: str
    bytes: int
    created: float

    @property
    def folder(self) -> Path:
        """The folder that holds the file alone, and the record of it."""
        return home() / FOLDER / self.id

    @property
    def path(self) -> Path:
        """The file; its ending alone is the sender's, and one of a list."""
        return self.folder / "content" / f"chat{_ending(self.filename)}"

    def under_sent_name(self, text: str) -> str:
        """Return a text about the file under the name that its sender knows."""
        return text.replace(f"{self.path.parent}{os.sep}", "").replace(self.path.name, self.filename)


async def receive(body: AsyncIterator[bytes], filename: str, owner: str, limit: int) -> Upload:
    """Write a body to the workspace as it comes, and return the upload.

    Nothing of it is kept where it is not whole. Raises DataError ``too_large`` beyond ``limit`` bytes and ``empty``
    for no byte at all, OverloadedError where the owner has many uploads already, StorageError where the disk refuses.
    """
    discard_old()
    if sum(one.owner == owner for one in uploads()) >= UPLOADS_PER_OWNER:
        message = f"{UPLOADS_PER_OWNER} uploads wait to be read"
        raise OverloadedError(message, hint="adapt from them or delete them", retry_after=60)
    upload = Upload(secrets.token_hex(16), owner, shown_name(filename), 0, time.time())
    try:
        with reporting(upload.path):
            for folder in (upload.folder.parent, upload.folder, upload.path.parent):
                folder.mkdir(mode=0o700, exist_ok=True)
        size = await _written(body, upload.path, limit)
        whole = Upload(**{**asdict(upload), "bytes": size})
        write_bytes(upload.folder / ABOUT, json.dumps(asdict(whole)).encode())
    except BaseException:
        shutil.rmtree(upload.folder, ignore_errors=True)
        raise
    return whole


async def _written(body: AsyncIterator[bytes], path: Path, limit: int) -> int:
    size = 0
    with reporting(path), os.fdopen(os.open(path, NEW_FILE, 0o600), "wb") as file:
        async for piece in body:
            size += len(piece)
            if size > limit:
                hint = "split the file"
                raise DataError(f"more than {limit / MIB:.1f} MiB, the limit", hint=hint, code="too_large")
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if not size:
        raise DataError("the body is empty: a file's content is wanted", code="empty")
    return size


def find_upload(upload: str, owner: str) -> Upload:
    """Return an upload by its id; ConfigError ``not_found`` for one that is not there, or another's."""
    found = _read(upload) if ID.fullmatch(upload) else None
    if found is None or found.owner != owner:
        raise unknown("upload")
    return found


def uploads() -> list[Upload]:
    """Return all uploads that are whole."""
    folder = home() / FOLDER
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [found for name in names if ID.fullmatch(name) and (found := _read(name))]


def discard(upload: Upload) -> None:
    """Delete an upload; one that is gone is no error."""
    with reporting(upload.folder):
        if upload.folder.exists():
            shutil.rmtree(upload.folder)


def discard_old(now: float | None = None) -> None:
    """Delete uploads that nobody used for a day, and what a killed server left of others."""
    folder, now = home() / FOLDER, time.time() if now is None else now
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.stat(follow_symlinks=False).st_mtime < now - KEPT_SECONDS and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)


def shown_name(filename: str) -> str:
    """Return a sender's name of a file without folders and control characters, ``chat.txt`` where nothing is left."""
    name = PurePosixPath(filename.replace("\\", "/")).name
    name = "".join(c for c in name if c.isprintable())[-NAME_LIMIT:].strip()
    return name if name.strip(".") else "chat.txt"


def _ending(filename: str) -> str:
    ending = PurePosixPath(filename).suffix.lower()
    return ending if ending in (*ENDINGS, *PACKED) else ".txt"


def _read(upload: str) -> Upload | None:
    try:
        return Upload(**read_json(home() / FOLDER / upload / ABOUT))
    except (StorageError, DataError, TypeError):  # still being written, or left by a killed server
        return None
