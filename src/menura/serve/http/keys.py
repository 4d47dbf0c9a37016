"""A secret that a client sends becomes a key with a name; on the disk are hashes alone."""

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from menura.artefacts.files import home, read_json, write_text
from menura.corpus.atomic_files import reporting
from menura.corpus.file_lock import lock as wait_for_lock
from menura.errors import ConfigError, DataError, printable, shown

PREFIX = "menura-"
SECRET_BYTES = 32
LONGEST_NAME = 64  # characters
PATTERN = re.compile(r"[A-Za-z0-9._*?-]{1,128}")
ALL = ("*",)


@dataclass(frozen=True)
class ApiKey:
    """A key as it is kept. ``personas`` are names or patterns (``anna-*``); ``created`` is in seconds since 1970."""

    key_id: str
    name: str
    sha256: str
    personas: tuple[str, ...]
    created: int


class KeyStore:
    """The keys of a workspace, in ``keys.json``; what another process writes there holds from the next request on.

    A file that cannot be read raises DataError ``damaged`` or StorageError at every use: no request is let in by it.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or home() / "keys.json"
        self._read: tuple[object, tuple[ApiKey, ...]] = (None, ())

    def list(self) -> tuple[ApiKey, ...]:
        """Return all keys, the oldest first."""
        stamp = _stamp(self._path)
        if stamp != self._read[0]:
            self._read = (stamp, _keys_in(self._path) if stamp else ())
        return self._read[1]

    def find(self, key_id: str) -> ApiKey | None:
        """Return a key by its id, None if it is not there (any more)."""
        return next((key for key in self.list() if key.key_id == key_id), None)

    def check(self, secret: str) -> ApiKey | None:
        """Return the key of a secret, None if it has none; how long that takes tells nothing of the keys."""
        digest = _digest(secret)
        found = None
        for key in self.list():
            if hmac.compare_digest(key.sha256, digest):
                found = key
        return found

    def new(self, name: str, personas: Sequence[str] = ALL) -> tuple[ApiKey, str]:
        """Make a key; return it and its secret, which is kept nowhere. ConfigError for a bad name or pattern."""
        _check(name, personas)
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        with self._changing():
            keys = self.list()
            key_id = _unused_id({key.key_id for key in keys})
            key = ApiKey(key_id, name, _digest(secret), tuple(personas), int(time.time()))
            self._write([*keys, key])
        return key, secret

    def revoke(self, key_id: str) -> ApiKey:
        """Remove a key and return it; ConfigError ``unknown_key`` if there is none of this id."""
        with self._changing():
            key = self.find(key_id)
            if key is None:
                raise ConfigError(f"no key {shown(key_id)}", hint="menura key list", code="unknown_key")
            self._write([one for one in self.list() if one != key])
        return key

    def _write(self, keys: Sequence[ApiKey]) -> None:
        write_text(self._path, json.dumps({"keys": [asdict(key) for key in keys]}, indent=2) + "\n")

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Keep other processes from writing: one would take back what the other revoked."""
        lock = self._path.with_name(f".{self._path.name}.lock")
        with reporting(lock):
            lock.parent.mkdir(parents=True, exist_ok=True)
            with lock.open("wb") as file:
                lock.chmod(0o600)
                wait_for_lock(file.fileno())
                yield


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _stamp(path: Path) -> object:
    """Return what changes whenever a file is replaced; None where there is none."""
    with reporting(path):
        try:
            stat = path.stat()
        except FileNotFoundError:
            return None
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


def _keys_in(path: Path) -> tuple[ApiKey, ...]:
    try:
        return tuple(_key(entry) for entry in read_json(path)["keys"])
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError("damaged: no list of keys", place=str(path), code="damaged") from error


def _key(entry: dict[str, Any]) -> ApiKey:
    return ApiKey(**{**entry, "personas": tuple(entry["personas"])})


def _unused_id(used: set[str]) -> str:
    while (key_id := secrets.token_hex(4)) in used:
        pass
    return key_id


def _check(name: str, personas: Sequence[str]) -> None:
    if not 0 < len(name.strip()) <= LONGEST_NAME or printable(name) != name or "\n" in name:
        raise ConfigError(f"name {shown(name)}: 1 to {LONGEST_NAME} characters wanted", hint="menura key new laptop")
    wrong = [pattern for pattern in personas if not PATTERN.fullmatch(pattern)]
    if wrong or not personas:
        found = shown(wrong[0]) if wrong else "nothing"
        raise ConfigError(f"--personas {found}: names or patterns wanted", hint="--personas anna,bob-*")
