"""The database of a workspace: one SQLite file with one connection, written through to the disk.

Only this connection writes back the write-ahead log. With several of them, SQLite before 3.51.3 may lose pages.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from menura.artefacts.files import home
from menura.corpus.atomic_files import reporting
from menura.corpus.file_lock import try_lock
from menura.errors import BusyError, DataError, StorageError
from menura.serve.database.schema import SCHEMA_VERSION, STEPS

FILE = "menura.db"
BUSY_MILLISECONDS = 5000  # for which another process may hold the file, a backup for instance
CHECKPOINTS = 50  # tries to empty the write-ahead log while somebody reads the file
BETWEEN_CHECKPOINTS = 0.1  # seconds
FULL = ("SQLITE_FULL", "SQLITE_IOERR_WRITE")
Rows = list[sqlite3.Row]


class Database:
    """Rows by plain SQL, from any thread: one statement or transaction runs at a time.

    A transaction that has returned is on the disk. Raises BusyError ``locked`` where another server has the file,
    DataError ``newer_schema`` for one that a newer Menura wrote, and StorageError for what the disk refuses.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or home() / FILE
        self._lock = threading.RLock()
        with reporting(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._held = _locked(self.path.with_name(f"{self.path.name}.lock"))
            # SQLite gives the files beside it the same mode.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        try:
            with self._reporting():
                _check_schema(self.path)
                self._connection = _opened(self.path)
                _migrate(self._connection)
        except BaseException:
            os.close(self._held)
            raise

    def rows(self, statement: str, *values: Any) -> Rows:
        """Return the rows of a query."""
        with self._lock, self._reporting():
            return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row of a query, None where there is none."""
        return next(iter(self.rows(statement, *values)), None)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection; all that is written in the block is kept, or nothing where it raises."""
        with self._lock, self._reporting():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # a full disk may have ended it already
                    self._connection.execute("ROLLBACK")
                raise

    def write(self, statement: str, *values: Any) -> int:
        """Run one statement, written through when this returns; return how many rows it changed."""
        with self.transaction() as connection:
            return connection.execute(statement, values).rowcount

    def delete(self, statements: Sequence[tuple[str, tuple[Any, ...]]]) -> int:
        """Delete rows so that no byte of them is left in the file or beside it; return how many there were.

        Raises BusyError where somebody reads the file all the while, and StorageError where the disk is too full to
        write the file anew: then the rows are gone, and their bytes stay until the next deletion.
        """
        with self._lock:
            with self.transaction() as connection:
                count = sum(connection.execute(statement, values).rowcount for statement, values in statements)
            try:
                # secure_delete overwrites rows where they are, not the copies that page splits left in unused space.
                with self._reporting():
                    self._connection.execute("VACUUM")
            finally:
                self._empty_log()
            return count

    def close(self) -> None:
        """Close the file, the write-ahead log written back."""
        with self._lock:
            self._connection.close()
            os.close(self._held)

    def _empty_log(self) -> None:
        for _ in range(CHECKPOINTS):
            with self._reporting():
                busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if not busy:
                return
            time.sleep(BETWEEN_CHECKPOINTS)
        message = f"{self.path.name} is read by another process, so what was deleted is still in its log"
        raise BusyError(message, hint="end that process, a backup for instance, and delete it again")

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Turn what SQLite says of the file into errors of ours."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise
            name = getattr(error, "sqlite_errorname", "")
            if name in ("SQLITE_CORRUPT", "SQLITE_NOTADB"):
                hint = "put a backup in its place, or move it away to begin a new one"
                raise DataError(str(error), place=str(self.path), hint=hint, code="damaged") from error
            code = "storage_full" if name in FULL else None
            raise StorageError(f"database: {error}", place=str(self.path), code=code) from error


def _locked(path: Path) -> int:
    """Return the descriptor of a lock that the system frees with this process; BusyError where it is taken."""
    held = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)  # which no child process inherits
    try:
        free = try_lock(held)
    except OSError:
        os.close(held)
        raise
    if not free:
        os.close(held)
        message = f"another server runs in this workspace ({path.parent})"
        raise BusyError(message, hint="stop it, or set MENURA_HOME to another folder")
    return held


def _check_schema(path: Path) -> None:
    """Raise DataError for a file of a newer schema, before anything could be written to it."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        message = f"written by a newer Menura (schema {version}, this reads {SCHEMA_VERSION})"
        raise DataError(message, place=str(path), hint="upgrade Menura, or set MENURA_HOME", code="newer_schema")


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in (
        f"busy_timeout = {BUSY_MILLISECONDS}",
        "journal_mode = WAL",
        "synchronous = FULL",
        "foreign_keys = ON",
        "secure_delete = ON",
        "temp_store = MEMORY",  # no file in /tmp holds what is sorted
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _migrate(connection: sqlite3.Connection, after_step: Callable[[int], None] = lambda version: None) -> None:
    """Bring a file to the schema of today, in one transaction; ``after_step`` is called within it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        for number, step in enumerate(STEPS[version:], start=version + 1):
            for statement in step:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
            after_step(number)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
