"""Where the engine reads personas from: the workspace, or a store that replicas share and none of them changes."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, Protocol

import fsspec
from fsspec.implementations.local import LocalFileSystem

from menura.artefacts import persona_store
from menura.artefacts.persona_store import NAME, SUFFIX, VERSIONED
from menura.errors import ConfigError, StorageError

REFRESH_SECONDS = 5.0  # how old a listing of a shared store may be


@dataclass(frozen=True)
class FileStamp:
    """What tells one content of a file from another without reading it; ``changed`` is in seconds since 1970."""

    changed: float
    size: int
    tag: str = ""


class PersonaFiles(Protocol):
    """The files of personas by name; ``anna@1`` is an earlier version."""

    def stamps(self) -> Mapping[str, FileStamp]:
        """Return all last versions by name."""

    def stamp(self, name: str) -> FileStamp | None:
        """Return the stamp of a persona or a version; None where there is none, or no persona can have the name."""

    def read(self, name: str) -> bytes:
        """Return the package; raises FileNotFoundError if it is gone, StorageError if it cannot be read."""

    def current_version(self, name: str) -> int:
        """Return the number of a persona's last version."""


class WorkspaceFiles:
    """The personas of the workspace."""

    def stamps(self) -> Mapping[str, FileStamp]:
        """Return all last versions by name."""
        found = {name: self.stamp(name) for name in persona_store.names()}
        return {name: stamp for name, stamp in found.items() if stamp}

    def stamp(self, name: str) -> FileStamp | None:
        """Return the stamp of a persona or a version."""
        try:
            stat = persona_store.path_of(name).stat()
        except (ConfigError, FileNotFoundError):
            return None
        return FileStamp(stat.st_mtime, stat.st_size, f"{stat.st_mtime_ns} {stat.st_ino}")

    def read(self, name: str) -> bytes:
        """Return the package."""
        return persona_store.path_of(name).read_bytes()

    def current_version(self, name: str) -> int:
        """Return the number of a persona's last version."""
        return persona_store.current_version(name)


class SharedFiles:
    """The personas of a folder, or of any store that fsspec knows, read only; ``url`` is the only address asked."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._clock = url, clock
        try:
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            hint = "a folder, or pip install s3fs for s3://bucket/folder"
            raise ConfigError(f"--store {url}: {error}", hint=hint) from error
        # Elsewhere a folder is no more when its last file is taken away, and is there again with the next.
        self._has_folders = isinstance(self._files, LocalFileSystem)
        self._was_there = False
        self._lock = Lock()
        self._listed: dict[str, FileStamp] = {}
        self._listed_at = -REFRESH_SECONDS
        self._all()  # a store that is not there is said at once

    def stamps(self) -> Mapping[str, FileStamp]:
        """Return all last versions by name, at most five seconds old."""
        return {name: stamp for name, stamp in sorted(self._all().items()) if NAME.fullmatch(name)}

    def stamp(self, name: str) -> FileStamp | None:
        """Return the stamp of a persona or a version, at most five seconds old."""
        return self._all().get(name)

    def read(self, name: str) -> bytes:
        """Return the package."""
        with self._reporting():
            content: bytes = self._files.cat_file(f"{self._root}/{name}{SUFFIX}")
        return content

    def current_version(self, name: str) -> int:
        """Return the number of a persona's last version."""
        matches = (VERSIONED.fullmatch(one) for one in self._all())
        earlier = [int(match[2]) for match in matches if match and match[1] == name]
        return max(earlier, default=0) + 1

    def _all(self) -> Mapping[str, FileStamp]:
        with self._lock:
            if self._clock() >= self._listed_at + REFRESH_SECONDS:
                with self._reporting():
                    entries = self._entries()
                files = {PurePosixPath(entry["name"]).name: entry for entry in entries if entry["type"] == "file"}
                names = {file.removesuffix(SUFFIX): entry for file, entry in files.items() if file.endswith(SUFFIX)}
                ours = {
                    name: entry for name, entry in names.items() if NAME.fullmatch(name) or VERSIONED.fullmatch(name)
                }
                self._listed = {name: _stamp_of(entry) for name, entry in ours.items()}
                self._listed_at = self._clock()
            return self._listed

    def _entries(self) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = self._files.ls(self._root, detail=True)
        except FileNotFoundError:
            if self._has_folders or not self._was_there:
                raise
            return []
        self._was_there = True
        return found

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise StorageError(f"{error}", place=self._url, code="missing") from error
        except OSError as error:
            raise StorageError(f"{error}", place=self._url, code="storage_error") from error


def _is_a_name(name: str) -> bool:
    return bool(NAME.fullmatch(name) or VERSIONED.fullmatch(name))


def _stamp_of(entry: Mapping[str, Any]) -> FileStamp:
    """Return a listed file's stamp; what a store says of changes differs by its kind."""
    when = next((entry[key] for key in ("mtime", "LastModified", "created") if entry.get(key)), 0.0)
    changed = when.timestamp() if hasattr(when, "timestamp") else float(when)
    tag = " ".join(str(entry[key]) for key in ("ETag", "etag", "md5", "ino") if entry.get(key))
    return FileStamp(changed, int(entry["size"] or 0), f"{when} {tag}")


def persona_files(url: str) -> PersonaFiles:
    """Return the workspace's personas for an empty ``url``, else those of a shared store."""
    return SharedFiles(url) if url else WorkspaceFiles()


def path_in(url: str, name: str) -> Path:
    """Return what an error calls the file of a persona."""
    return Path(url or "personas") / f"{name}{SUFFIX}"
