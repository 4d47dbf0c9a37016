"""The personas of a workspace, by name; an earlier version of a persona stays until it is replaced or deleted.

Processes that change them take turns, so that none loses what another has written at the same moment.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from menura.artefacts.bases.catalogue import BASES
from menura.artefacts.files import home, write_bytes
from menura.artefacts.loading import DEFAULT
from menura.artefacts.persona_artefact import PersonaArtefact, read
from menura.corpus.atomic_files import reporting, sync
from menura.corpus.file_lock import held
from menura.errors import ConfigError, DataError, MenuraError, StorageError, shown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
VERSIONED = re.compile(rf"({NAME.pattern})@(\d{{1,6}})")
SUFFIX = ".persona"
BUILT_IN = frozenset({DEFAULT, *BASES})
LOCK = ".personas.lock"
DAMAGED = "damaged"  # beside the personas: what was set aside
# What Windows keeps for devices, with any ending: a persona's file could not be copied there.
DEVICES = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)


@dataclass(frozen=True)
class Saved:
    """Where a persona was written. ``earlier`` is the name of the version before it; empty where there is none.

    ``changed`` is False where the same persona was there already.
    """

    path: Path
    earlier: str = ""
    changed: bool = True


def path_of(name: str) -> Path:
    """Return the path of a persona or of a version of it (``anna@1``), existing or not.

    Raises ConfigError for a name that is no plain file name.
    """
    if not NAME.fullmatch(name) and not VERSIONED.fullmatch(name):
        raise ConfigError(
            f"persona name {shown(name)}: letters, digits, '-' and '_' only, at most 64, a letter or digit first",
            code="bad_name",
        )
    return home() / "personas" / f"{name}{SUFFIX}"


def check_new(name: str) -> None:
    """Raise ConfigError for a name that no new persona may have: no plain file name, or one that means a model."""
    path_of(name)
    if name in BUILT_IN or VERSIONED.fullmatch(name) or DEVICES.fullmatch(name):
        reason = "is a model's" if name in BUILT_IN else "is that of an earlier version"
        if DEVICES.fullmatch(name):
            reason = "is that of a device on Windows, where no file can be called so"
        raise ConfigError(f"persona name {shown(name)} {reason}", hint="choose another name", code="bad_name")


def names() -> list[str]:
    """Return the names of all personas, each at its last version."""
    return sorted(current_versions())


def current_versions() -> dict[str, int]:
    """Return the number of each persona's last version by its name, from one look at the folder."""
    found = [path.stem for path in (home() / "personas").glob(f"*{SUFFIX}")]
    current = {name: 1 for name in found if NAME.fullmatch(name)}
    for match in filter(None, map(VERSIONED.fullmatch, found)):
        name, number = match[1], int(match[2])
        if name in current:
            current[name] = max(current[name], number + 1)
    return current


def versions(name: str) -> list[str]:
    """Return the names of the earlier versions of a persona, the oldest first."""
    found = (path.stem for path in path_of(name).parent.glob(f"{name}@*{SUFFIX}"))
    return sorted((one for one in found if VERSIONED.fullmatch(one)), key=lambda one: int(one.rpartition("@")[2]))


def current_version(name: str) -> int:
    """Return the number of a persona's last version: the one after its earlier versions, 1 for the first."""
    earlier = versions(name)
    return int(earlier[-1].rpartition("@")[2]) + 1 if earlier else 1


def load(name: str) -> PersonaArtefact:
    """Read a persona of the workspace, or the package at a path; ConfigError with the nearest name if there is none."""
    if name.endswith(SUFFIX) and Path(name).exists():
        return read(Path(name))
    check_there(name)
    return read(path_of(name))


def check_there(name: str) -> None:
    """Raise ConfigError, with the nearest name, unless there is a persona of this name."""
    if not path_of(name).exists():
        near = get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else "menura persona list; menura adapt NAME FILES makes one"
        raise ConfigError(f"unknown persona {shown(name)}", hint=hint, code="model_not_found")


@contextmanager
def changing() -> Iterator[None]:
    """Keep other processes and threads from changing personas; BusyError if one does so for a minute.

    ``save``, ``rename`` and ``remove`` do so themselves, and are not called within.
    """
    with held(home() / LOCK, "changing personas"):
        yield


def save(artefact: PersonaArtefact, *, replace_old: bool = False) -> Saved:
    """Write a persona to the workspace atomically; one of the same name stays as an earlier version of it.

    Nothing is written where the same bytes are there already. With ``replace_old`` the persona of the same name and
    all its earlier versions are gone.
    """
    path, content = path_of(artefact.name), artefact.packed()
    with changing(), reporting(path):
        if path.exists() and path.read_bytes() == content:
            return Saved(path, changed=False)
        if replace_old:
            write_bytes(path, content)
            for version in versions(artefact.name):
                path_of(version).unlink(missing_ok=True)
            sync(path.parent)
            return Saved(path)
        return Saved(path, _written_beside(path, content, artefact.name))


def _written_beside(path: Path, content: bytes, name: str) -> str:
    """Write a persona, one that is there becomes an earlier version; return that version's name, empty for none."""
    if not path.exists():
        write_bytes(path, content)
        return ""
    before, made = path.read_bytes(), path.stat().st_mtime_ns
    earlier = f"{name}@{current_version(name)}"
    try:
        write_bytes(path_of(earlier), before)
        os.utime(path_of(earlier), ns=(made, made))  # when that version was made is nowhere else
        write_bytes(path, content)
    except (StorageError, OSError):
        if path.read_bytes() == before:  # a failure behind the renaming leaves the new one: then the old is beside it
            path_of(earlier).unlink(missing_ok=True)
        raise
    return earlier


def rename(old: str, new: str) -> Path:
    """Give a persona, with its earlier versions, another name; return where it is now.

    All files are written under the new name before one of the old is deleted, so that the persona is whole at any
    moment. A damaged earlier version is moved as it is. Raises ConfigError for a name that is in use or may not be
    used, DataError for a persona that is damaged.
    """
    check_there(old)
    check_new(new)
    with changing():
        check_there(old)
        if path_of(new).exists():
            raise ConfigError(f"there is a persona {shown(new)} already", hint="choose another name", code="name_taken")
        _write_under(old, new)
        _delete(old)
    return path_of(new)


def _write_under(old: str, new: str) -> None:
    """Write all files of a persona under another name, the last version last; none of them where one fails."""
    files = {path_of(version): path_of(f"{new}@{version.rpartition('@')[2]}") for version in versions(old)}
    contents = {path: _renamed(path, new) or path.read_bytes() for path in files}
    files[path_of(old)] = path_of(new)
    contents[path_of(old)] = replace(read(path_of(old)), name=new).packed()
    for version in versions(new):  # of a rename that was cut short
        path_of(version).unlink(missing_ok=True)
    written: list[Path] = []
    try:
        for path, target in files.items():
            written.append(target)
            write_bytes(target, contents[path])
            made = path.stat().st_mtime_ns
            os.utime(target, ns=(made, made))
    except (MenuraError, OSError):
        for target in reversed(written):
            target.unlink(missing_ok=True)
        raise


def _renamed(path: Path, name: str) -> bytes:
    """Return a package under another name; no bytes where it is damaged."""
    try:
        return replace(read(path), name=name).packed()
    except DataError:
        return b""


def remove(name: str) -> None:
    """Delete a persona with its earlier versions, if it exists, and what was set aside or left in half of it."""
    if path_of(name).parent.exists():
        with changing():
            _delete(name)


def _delete(name: str) -> None:
    path = path_of(name)
    with reporting(path):
        for version in versions(name) if NAME.fullmatch(name) else []:
            path_of(version).unlink(missing_ok=True)
        remove_unfinished(name)
        for pattern in (f"{name}{SUFFIX}.*", f"{name}@*{SUFFIX}.*"):
            for aside in (path.parent / DAMAGED).glob(pattern):
                aside.unlink(missing_ok=True)
        path.unlink(missing_ok=True)  # last, as a persona that is listed can be deleted again
        sync(path.parent)  # or it comes back after a power cut


def remove_unfinished(name: str) -> None:
    """Delete what a process that was killed left of writing a persona; to be called within ``changing``."""
    path = path_of(name)
    with reporting(path):
        for pattern in (f".{name}{SUFFIX}.*", f".{name}@*{SUFFIX}.*"):
            for unfinished in path.parent.glob(pattern):
                unfinished.unlink(missing_ok=True)
