"""A migration that is killed leaves the old schema or the new one, and never a row fewer (D9)."""

import multiprocessing
import os
import random
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import counts
import pytest

from menura.serve.database import chats, database
from menura.serve.database.database import Database
from menura.serve.database.schema import SCHEMA_VERSION, STEPS

POINTS = counts.count(full_count=50, quick_count=6)
FURTHER = tuple(
    (f"ALTER TABLE chats ADD COLUMN tag{number} TEXT", f"UPDATE messages SET text = text || '.{number}'")
    for number in range(10)
)
NEW = SCHEMA_VERSION + len(FURTHER)
ROWS = 400


def migrate(home: str, after: int) -> None:
    """Open the database with further steps; die once that of this number is done, behind the last if it is 0."""
    os.environ["MENURA_HOME"] = home
    database.STEPS, database.SCHEMA_VERSION = (*STEPS, *FURTHER), NEW
    rightly: Any = database._migrate

    def die(version: int) -> None:
        if version == after:
            os.kill(os.getpid(), signal.SIGKILL)

    database._migrate = lambda connection: rightly(connection, die)  # type: ignore[assignment]
    Database().close()


def state(home: Path) -> tuple[int, list[str], list[str]]:
    """Return the schema's number, the columns of chats that are new, and the texts."""
    with closing(sqlite3.connect(home / "menura.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        columns = [row[1] for row in connection.execute("PRAGMA table_info(chats)")]
        texts = [row[0] for row in connection.execute("SELECT text FROM messages ORDER BY place")]
    return version, [name for name in columns if name.startswith("tag")], texts


@pytest.mark.slow
def test_a_migration_that_is_killed_leaves_the_old_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["menura.serve.database.chats"])
    chance, found = random.Random(0), set[int]()
    texts = [f"row {number}" for number in range(ROWS)]
    done = [f"{text}{''.join(f'.{number}' for number in range(len(FURTHER)))}" for text in texts]
    for point in range(POINTS):
        home = tmp_path / str(point)
        monkeypatch.setenv("MENURA_HOME", str(home))
        with closing(Database()) as made:
            chat = chats.new_chat(made, "", "anna", 1, "")["id"]
            with made.transaction() as connection:
                values = [(chat, place, text) for place, text in enumerate(texts)]
                line = "INSERT INTO messages VALUES (?, ?, 'user', ?, '[]', '[]', NULL, '[]', 1, 0, 0)"
                connection.executemany(line, values)
        after = SCHEMA_VERSION + 1 + point % len(FURTHER) if point % 3 else 0
        process = server.Process(target=migrate, args=(str(home), after))
        process.start()
        if not after:  # at any moment, be it while all of it is written through
            while not (home / "menura.db-wal").exists() and process.is_alive():
                pass
            time.sleep(chance.uniform(0, 0.03))
            process.kill()
        process.join()
        version, tags, now = state(home)
        found.add(version)
        if version == NEW:
            assert (len(tags), now) == (len(FURTHER), done)
        else:
            assert (version, tags, now) == (SCHEMA_VERSION, [], texts)
    assert SCHEMA_VERSION in found
