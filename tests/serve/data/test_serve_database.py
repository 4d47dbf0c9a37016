"""The database keeps what it has acknowledged, leaves nothing of what is deleted, and is opened by one server."""

import random
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import counts
import pytest
import row_writer

from menura.errors import BusyError, DataError, StorageError
from menura.serve.database import chats, comparisons, database, persona_owners
from menura.serve.database.database import Database
from menura.serve.database.schema import SCHEMA_VERSION, STEPS

pytestmark = pytest.mark.usefixtures("empty_workspace")


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("menura.db*")))


def test_no_acknowledged_row_is_lost_when_the_process_is_killed(empty_workspace: Path) -> None:
    with closing(Database()) as made:
        chat = chats.new_chat(made, "", "anna", 1, "")["id"]
    times, acknowledged = random.Random(0), -1
    for _ in range(counts.count(full_count=60, quick_count=4)):
        command = [sys.executable, row_writer.__file__, chat, str(acknowledged + 1)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            time.sleep(times.uniform(0, 0.2))
            process.send_signal(signal.SIGKILL)
            lines = [line for line in process.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        acknowledged = max([acknowledged, *map(int, lines)])
        with closing(Database()) as made:
            (check,) = made.rows("PRAGMA integrity_check")
            assert check[0] == "ok"
            kept = [int(one["text"].split()[1]) for one in chats.messages_of(made, "", chat)]
        assert kept == sorted(kept)
        assert set(range(acknowledged + 1)) <= set(kept)
        acknowledged = max([acknowledged, *kept])
    assert acknowledged > 0


def test_no_byte_of_a_deleted_chat_is_left(empty_workspace: Path) -> None:
    with closing(Database()) as made:
        deleted, kept = (chats.new_chat(made, "", name, 1, f"title-{name}-7f3a")["id"] for name in ("anna", "bert"))
        for number in range(200):
            for chat, word in ((deleted, "canary"), (kept, "survivor")):
                chats.add_message(made, "", chat, chats.NewMessage("user", f"{word}-{number}-7f3a" * 20))
        assert b"canary-7-7f3a" in bytes_of(empty_workspace)
        chats.delete_chat(made, "", deleted)
        left = bytes_of(empty_workspace)
        assert b"canary" not in left
        assert b"title-anna" not in left
        assert b"survivor-199-7f3a" in left
        assert len(chats.messages_of(made, "", kept)) == 200


def test_no_byte_of_a_deleted_persona_is_left(empty_workspace: Path) -> None:
    with closing(Database()) as made:
        persona_owners.note_owner(made, "canary-persona", "k1")
        chat = chats.new_chat(made, "k1", "canary-persona", 1, "")["id"]
        chats.add_message(made, "k1", chat, chats.NewMessage("user", "canary-text"))
        of_another = chats.new_chat(made, "k2", "canary-persona", 1, "")["id"]
        lanes = ["canary-persona@1", "bert"]
        comparison = comparisons.new_comparison(made, "k1", [("user", "canary-prompt")], lanes, blind=True)
        comparisons.note_replies(made, comparison, ["canary-reply", "b"], finished=True)
        persona_owners.forget_persona(made, "canary-persona", None)
        assert chats.messages_of(made, "k1", chat)
        persona_owners.forget_persona(made, "canary-persona", "k1")
        assert chats.chat_of(made, "k2", of_another)
        chats.delete_chat(made, "k2", of_another)
        assert b"canary" not in bytes_of(empty_workspace)


@pytest.mark.parametrize("seed", [14, 25])  # of ids that split pages in such a way
def test_nothing_is_left_where_pages_were_split(empty_workspace: Path, seed: int) -> None:
    """A split leaves copies of rows in unused space, of which secure_delete knows nothing."""
    ids, names = random.Random(seed), [f"canary-{seed}-{number}." for number in range(200)]
    with closing(Database()) as made:
        with made.transaction() as connection:
            for name in names:
                chat, created = ids.randbytes(16).hex(), ids.random()
                row = (chat, name, f"secret of {name}", created)
                connection.execute("INSERT INTO chats VALUES (?, 'me', ?, 1, ?, ?)", row)
                said = (chat, f"told to {name}", ids.random())
                connection.execute(
                    "INSERT INTO messages VALUES (?, 0, 'user', ?, '[]','[]', NULL, '[]', 1, 0, ?)", said
                )
        made.delete([("DELETE FROM chats WHERE persona = ?", (name,)) for name in names[::2]])
        left = bytes_of(empty_workspace)
    assert [name for name in names[::2] if name.encode() in left] == []
    assert all(name.encode() in left for name in names[1::2])


def test_a_reader_who_keeps_the_log_is_reported(empty_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CHECKPOINTS", 2)
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 10)
    with closing(Database()) as made:
        chat = chats.new_chat(made, "", "anna", 1, "")["id"]
        with closing(sqlite3.connect(made.path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM chats").fetchall()
            with pytest.raises(BusyError):
                chats.delete_chat(made, "", chat)
        chats.delete_chat(made, "", chat)
        assert chat.encode() not in bytes_of(empty_workspace)


def test_its_files_are_the_owners_alone(empty_workspace: Path) -> None:
    with closing(Database()) as made:
        chats.new_chat(made, "", "anna", 1, "")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in empty_workspace.glob("menura.db*")}
    assert modes == dict.fromkeys(["menura.db", "menura.db-shm", "menura.db-wal", "menura.db.lock"], 0o600)


def test_a_second_server_is_refused_until_the_first_has_ended(empty_workspace: Path) -> None:
    with closing(Database()), pytest.raises(BusyError, match="another server"):
        Database()
    Database().close()


def test_a_newer_schema_is_refused_and_left_as_it_is(empty_workspace: Path) -> None:
    Database().close()
    with closing(sqlite3.connect(empty_workspace / "menura.db")) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = (empty_workspace / "menura.db").read_bytes()
    with pytest.raises(DataError, match=f"newer Menura \\(schema {SCHEMA_VERSION + 1}"):
        Database()
    assert (empty_workspace / "menura.db").read_bytes() == before


def test_a_migration_that_breaks_leaves_the_old_schema(empty_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Database()) as made:
        chat = chats.new_chat(made, "", "anna", 1, "")["id"]
    further = ("ALTER TABLE chats ADD COLUMN tag TEXT", "CREATE TABLE nonsense (a, a)")
    monkeypatch.setattr(database, "STEPS", (*STEPS, further))
    monkeypatch.setattr(database, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with pytest.raises(StorageError, match="duplicate column"):
        Database()
    monkeypatch.undo()
    monkeypatch.setenv("MENURA_HOME", str(empty_workspace))
    with closing(Database()) as made:
        assert chats.chat_of(made, "", chat)
        assert "tag" not in [row["name"] for row in made.rows("PRAGMA table_info(chats)")]


def test_a_database_of_an_earlier_schema_is_brought_to_that_of_today(
    empty_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Database()) as made:
        chat = chats.new_chat(made, "", "anna", 1, "")["id"]
    monkeypatch.setattr(database, "STEPS", (*STEPS, ("ALTER TABLE chats ADD COLUMN tag TEXT",)))
    monkeypatch.setattr(database, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with closing(Database()) as made:
        assert chats.chat_of(made, "", chat)["persona"] == "anna"
        assert made.row("SELECT tag FROM chats") is not None
        assert tuple(made.rows("PRAGMA user_version")[0]) == (SCHEMA_VERSION + 1,)


def test_a_file_that_is_no_database_is_named(empty_workspace: Path) -> None:
    (empty_workspace / "menura.db").write_bytes(b"hello" * 1000)
    with pytest.raises(DataError, match="not a database"):
        Database()


def test_a_transaction_that_raises_leaves_nothing(empty_workspace: Path) -> None:
    with closing(Database()) as made:
        with suppress(ZeroDivisionError), made.transaction() as connection:
            connection.execute("INSERT INTO owners VALUES ('anna', 'k1', 0)")
            _ = 1 / 0
        assert persona_owners.owner_of(made, "anna") is None
