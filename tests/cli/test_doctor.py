"""``menura doctor`` finds what is damaged or left over, repairs it, and copies a workspace that is in use."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from serve.made_personas import make_persona, tiny

from menura import api
from menura.artefacts import persona_artefact, persona_store
from menura.cli.main import run

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    monkeypatch.setenv("MENURA_HOME", str(folder))
    loaded = tiny()
    for name in ("ana", "ben"):
        make_persona(loaded, name)
    with closing(sqlite3.connect(folder / "menura.db")) as database, database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE chats (text TEXT)")
        database.execute("INSERT INTO chats VALUES ('good morning')")
    return folder


def typed(capsys: Captured, line: str, exit_code: int = 0) -> str:
    capsys.readouterr()
    assert run(line.split()) == exit_code
    told = capsys.readouterr()
    return told.out + told.err


def is_kept(path: Path) -> bool:
    return not path.name.startswith("menura.db-") and path.name != persona_store.LOCK


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def old(path: Path, seconds: float = 2 * 86_400) -> Path:
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


def test_a_whole_workspace_has_nothing_to_put_right(capsys: Captured) -> None:
    told = typed(capsys, "doctor")
    assert "personas" in told
    assert "put right" not in told
    assert api.examine_workspace() == []


def test_what_is_damaged_or_left_over_is_found_and_nothing_is_changed(capsys: Captured, home: Path) -> None:
    damage(persona_store.path_of("ana"))
    left = home / "personas" / ".ben.persona.x1"
    left.write_bytes(b"half")
    for folder in ("served/gone", "uploads/0f"):
        (home / folder).mkdir(parents=True)
        old(home / folder)
    before = sorted(path.name for path in home.rglob("*") if is_kept(path))
    told = typed(capsys, "doctor")
    for part in ("damaged persona", left.name, "served/gone", "uploads/0f", "4 things to put right"):
        assert part in told
    assert sorted(path.name for path in home.rglob("*") if is_kept(path)) == before


def test_repairing_sets_the_damaged_aside_and_leaves_the_whole_alone(capsys: Captured, home: Path) -> None:
    damage(persona_store.path_of("ana"))
    whole = persona_store.path_of("ben").read_bytes()
    (home / "personas" / ".ben.persona.x1").write_bytes(b"half")
    told = typed(capsys, "doctor --repair")
    assert "set aside" in told
    assert persona_store.names() == ["ben"]
    assert persona_store.path_of("ben").read_bytes() == whole
    assert not (home / "personas" / ".ben.persona.x1").exists()
    assert len(list((home / "personas" / "damaged").iterdir())) == 1
    assert api.examine_workspace() == []


def test_a_damaged_database_is_set_aside(capsys: Captured, home: Path) -> None:
    path = home / "menura.db"
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 4096)
    assert "damaged database" in typed(capsys, "doctor")
    typed(capsys, "doctor --repair")
    assert not path.exists()
    assert list(home.glob("menura.db.damaged.*"))


def test_a_copy_made_while_somebody_writes_is_a_workspace(
    capsys: Captured, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "keys.json").write_text("[]", encoding="utf-8")
    writing = sqlite3.connect(home / "menura.db")
    writing.execute("INSERT INTO chats VALUES ('not yet')")  # in no transaction that has ended
    typed(capsys, f"doctor --backup {tmp_path / 'copy'}")
    writing.rollback()
    writing.close()
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "copy"))
    assert persona_store.names() == ["ana", "ben"]
    assert persona_artefact.read(persona_store.path_of("ana")).name == "ana"
    with closing(sqlite3.connect(tmp_path / "copy" / "menura.db")) as database:
        assert database.execute("SELECT text FROM chats").fetchall() == [("good morning",)]
    assert (tmp_path / "copy" / "keys.json").exists()
    assert (tmp_path / "copy").stat().st_mode & 0o777 == 0o700
    assert api.examine_workspace() == []


def test_a_backup_never_writes_into_a_folder_that_is_there(capsys: Captured, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / "mine").write_text("keep", encoding="utf-8")
    assert "exists already" in typed(capsys, f"doctor --backup {tmp_path / 'copy'}", 3)
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["mine"]
