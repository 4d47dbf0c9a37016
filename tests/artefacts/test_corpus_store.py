"""Corpora by name: put into the workspace once, found there by recipes."""

from pathlib import Path

import pytest
from made_up_chat import write

from menura.artefacts import corpus_store
from menura.cli.main import run
from menura.errors import ConfigError, DataError, StorageError


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_corpus_added_under_a_name_is_found_by_that_name(tmp_path: Path) -> None:
    file = write(tmp_path / "chat.jsonl")
    corpus_store.add("mine", [file])
    found = corpus_store.files_of("mine")
    assert [path.name for path in found] == ["chat.jsonl"]
    assert found[0].read_bytes() == file.read_bytes()


def test_adding_again_replaces_the_whole_corpus(tmp_path: Path) -> None:
    corpus_store.add("mine", [write(tmp_path / "old.jsonl")])
    corpus_store.add("mine", [write(tmp_path / "new.jsonl", people=3)])
    assert [path.name for path in corpus_store.files_of("mine")] == ["new.jsonl"]


def test_paths_stand_for_themselves(tmp_path: Path) -> None:
    assert corpus_store.files_of("a.txt, b.txt") == [Path("a.txt"), Path("b.txt")]


def test_a_name_that_was_never_added_says_how_to_add_it() -> None:
    with pytest.raises(DataError, match="menura data add convai2 FILE"):
        corpus_store.files_of("convai2")


@pytest.mark.parametrize("name", ["../up", "a b", "", "ä"])
def test_a_name_that_is_no_folder_s_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="letters, digits"):
        corpus_store.add(name, [write(tmp_path / "chat.jsonl")])


def test_a_file_that_cannot_be_read_leaves_no_corpus_behind(tmp_path: Path, workspace: Path) -> None:
    with pytest.raises(StorageError):
        corpus_store.add("mine", [tmp_path / "missing.jsonl"])
    assert not (workspace / "corpora" / "mine").exists()


def test_the_command_checks_a_corpus_before_it_takes_it(
    tmp_path: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"dialogue_id": 3\n', encoding="utf-8")
    assert run(["data", "add", "mine", str(broken), "--format", "jsonl"]) == 3
    assert not workspace.exists()
    assert run(["data", "add", "mine", str(write(tmp_path / "chat.jsonl"))]) == 0
    assert "mine: 120 dialogues" in capsys.readouterr().out
    assert (workspace / "corpora" / "mine" / "chat.jsonl").exists()
