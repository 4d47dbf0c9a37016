"""A workspace is looked through for what is damaged or left over, repaired, and copied while it is in use."""

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from menura.errors import DataError, MenuraError, StorageError

DAMAGED = "damaged"  # in the name of a database that was set aside
UPLOAD_SECONDS = 86_400.0
DATABASE = "menura.db"
COPIED = ("personas", "prepared", "keys.json")  # bases and corpora are fetched or added again


@dataclass(frozen=True)
class WorkspaceFinding:
    """Something wrong in the workspace: what it is, where, and what was done about it (empty: nothing)."""

    what: str
    path: str
    done: str = ""


def examine_workspace(*, repair: bool = False) -> list[WorkspaceFinding]:
    """Read every persona and the database to their end; return what is damaged or left over.

    With ``repair`` damaged files are set aside, where they can be looked at, and what is left over is deleted. A whole
    persona is never touched.
    """
    from menura.artefacts.files import home

    found = [*_personas(home() / "personas"), *_left_over(home()), *_database(home() / DATABASE)]
    return [WorkspaceFinding(what, str(path), put_right() if repair else "") for what, path, put_right in found]


_Found = tuple[str, Path, Callable[[], str]]


def _personas(folder: Path) -> Iterator[_Found]:
    from menura.artefacts import persona_store

    for path in sorted(folder.glob(f"*{persona_store.SUFFIX}")):
        if said := _damage(path):
            yield f"damaged persona: {said}", path, partial(_set_aside, path)
    there = set(persona_store.names())
    for path in sorted(folder.glob(f"*@*{persona_store.SUFFIX}")):
        if path.name.partition("@")[0] not in there and not _damage(path) and not _was_set_aside(path):
            yield "an earlier version of a persona that is no more", path, partial(_moved_aside, path)


def _damage(path: Path) -> str:
    """Return what is wrong with a persona's file, nothing for one that is whole or was deleted meanwhile."""
    from menura.artefacts import persona_artefact

    try:
        persona_artefact.read(path, path.read_bytes())
    except FileNotFoundError:
        return ""
    except MenuraError as error:
        return error.problems[0].message
    return ""


def _was_set_aside(version: Path) -> bool:
    """Return whether a version's persona was set aside, so that the version is to be taken back."""
    from menura.artefacts.persona_store import DAMAGED, SUFFIX

    return any((version.parent / DAMAGED).glob(f"{version.name.partition('@')[0]}{SUFFIX}.*"))


def _set_aside(path: Path) -> str:
    """Move a damaged persona aside, unless it was written anew in the meantime."""
    from menura.artefacts.persona_store import changing

    with changing():
        if not _damage(path):
            return "written anew meanwhile"
        folder = _aside(path)
    return f"set aside in {folder}; adapt it again, or take back an earlier version: menura persona back NAME"


def _moved_aside(path: Path) -> str:
    from menura.artefacts.persona_store import changing

    with changing():
        return f"set aside in {_aside(path)}" if path.exists() else "deleted meanwhile"


def _aside(path: Path) -> Path:
    from menura.artefacts.persona_store import DAMAGED

    folder = path.parent / DAMAGED
    folder.mkdir(exist_ok=True)
    os.replace(path, folder / f"{path.name}.{int(time.time())}")
    return folder


def _left_over(home: Path) -> Iterator[_Found]:
    from menura.artefacts import persona_store

    now = time.time()
    unfinished = sorted((home / "personas").glob(".*"))
    if unfinished:
        with persona_store.changing():  # nobody writes now, so what is still there was left by who was killed
            unfinished = [path for path in unfinished if path.exists()]
    for path in unfinished:
        yield "a write that was cut short", path, partial(_deleted, path)
    names = set(persona_store.names())
    for path in sorted((home / "served").glob("*")):
        if path.name not in names:
            yield "a copy for engines of a persona that is no more", path, partial(_deleted, path)
    for path in sorted((home / "uploads").glob("*")):
        if now - path.stat().st_mtime > UPLOAD_SECONDS:
            yield "an upload that nothing was made of", path, partial(_deleted, path)


def _deleted(path: Path) -> str:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    return "deleted"


def _database(path: Path) -> Iterator[_Found]:
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            said = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
    except sqlite3.DatabaseError as error:
        said = [str(error)]
    if said != ["ok"]:
        yield f"damaged database of chats: {said[0]}", path, partial(_database_set_aside, path)


def _database_set_aside(path: Path) -> str:
    aside = path.with_name(f"{path.name}.{DAMAGED}.{int(time.time())}")
    for ending in ("", "-wal", "-shm"):
        part = path.with_name(path.name + ending)
        if part.exists():
            os.replace(part, aside.with_name(aside.name + ending))
    return f"set aside as {aside.name}; sqlite3 {aside.name} .recover may save chats; the server begins a new one"


def back_up_workspace(folder: Path) -> Path:
    """Copy personas, keys and chats to a new folder, all or nothing, also while a server runs; return the folder.

    Set ``MENURA_HOME`` to the copy to use it. Bases and corpora are not copied: they are fetched or added again. Raises
    DataError where the folder exists already.
    """
    from menura.artefacts.files import home, new_folder
    from menura.artefacts.persona_store import changing
    from menura.corpus.atomic_files import reporting

    if folder.exists():
        message = "exists already; a backup makes its own folder"
        raise DataError(message, place=str(folder), hint="give the name of a new one", code="exists")
    with new_folder(folder.absolute()) as made, reporting(folder):
        with changing():  # one that is renamed while it is copied would be there twice, or not at all
            for name in COPIED:
                source = home() / name
                if source.is_dir():
                    shutil.copytree(source, made / name, ignore=shutil.ignore_patterns(".*"))
                elif source.exists():
                    shutil.copy2(source, made / name)
        if (home() / DATABASE).exists():
            _copy_database(home() / DATABASE, made / DATABASE)
            (made / DATABASE).chmod(0o600)
        made.chmod(0o700)
    return folder


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database as it is at one moment, whoever writes to it meanwhile."""
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as database,
            closing(sqlite3.connect(target)) as copy,
        ):
            database.backup(copy)
    except sqlite3.DatabaseError as error:
        raise StorageError(str(error), place=str(source), hint="menura doctor --repair") from error
