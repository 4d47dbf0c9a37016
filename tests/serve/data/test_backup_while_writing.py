"""A backup that is made while personas and messages are written is a state that there was (D6)."""

import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import counts
import persona_writer
import pytest
import row_writer
from persona_writer import names_of

from menura import api
from menura.artefacts import persona_store
from menura.serve.database import chats
from menura.serve.database.database import Database

ROUNDS = counts.count(full_count=50, quick_count=3)
WRITERS = 2


@contextmanager
def writing(home: Path, chat: str) -> Iterator["subprocess.Popen[str]"]:
    """Let processes write personas and messages; give the one that says which messages are kept."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["menura.artefacts.persona_store"])
    given = [(7, writer, str(home), str(home.with_suffix(f".{writer}"))) for writer in range(WRITERS)]
    writers = [server.Process(target=persona_writer.write, args=one) for one in given]
    command = [sys.executable, row_writer.__file__, chat, "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"MENURA_HOME": str(home)}
    ) as rows:
        for writer in writers:
            writer.start()
        try:
            assert rows.stdout
            assert rows.stdout.readline() == "ready\n"
            yield rows
        finally:
            for process in (*writers, rows):
                process.kill()
            for writer in writers:
                writer.join()


@pytest.mark.slow
def test_a_backup_made_while_others_write_is_a_state_that_there_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("MENURA_HOME", str(home))
    with closing(Database()) as made:
        chat = chats.new_chat(made, "", "anna", 1, "")["id"]
    with writing(home, chat) as rows:
        assert rows.stdout
        for _ in range(ROUNDS):
            acknowledged = int(rows.stdout.readline())
            monkeypatch.setenv("MENURA_HOME", str(home))
            copy = api.back_up_workspace(tmp_path / "copy")
            monkeypatch.setenv("MENURA_HOME", str(copy))
            assert api.examine_workspace() == []
            with closing(sqlite3.connect(copy / "menura.db")) as database:
                assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                texts = [text for (text,) in database.execute("SELECT text FROM messages ORDER BY place")]
            assert texts == [f"row {number}" for number in range(len(texts))]
            assert len(texts) > acknowledged
            for name in persona_store.names():
                assert name in {one for writer in range(WRITERS) for one in names_of(writer)}
                versions = [persona_store.load(one) for one in (*persona_store.versions(name), name)]
                assert {one.name for one in versions} == {name}
            shutil.rmtree(copy)


def test_a_persona_that_is_renamed_while_it_is_copied_is_there_once(
    empty_workspace: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    persona_store.save(persona_writer.persona("anna", "fact"))
    waited: list[str] = []
    copying = shutil.copytree

    def copied(source: Path, target: Path, **named: object) -> Path:
        monkeypatch.setattr("menura.corpus.file_lock.LONGEST", 0.05)
        try:
            persona_store.rename("anna", "bert")
        except Exception as error:  # noqa: BLE001  # its name is compared
            waited.append(type(error).__name__)
        return copying(source, target, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(shutil, "copytree", copied)
    copy = api.back_up_workspace(tmp_path_factory.mktemp("backup") / "copy")
    assert waited == ["BusyError"]
    assert [path.name for path in (copy / "personas").iterdir()] == ["anna.persona"]
    assert empty_workspace.exists()
