import errno
import json
import os
from pathlib import Path

import pytest

from menura.artefacts.files import (
    home,
    new_folder,
    read_json,
    reporting,
    sha256_of,
    write_bytes,
    write_json,
)
from menura.errors import DataError, StorageError


def no_space(*args: object, **named: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_written_is_there_and_nothing_else(tmp_path: Path) -> None:
    write_bytes(tmp_path / "deep" / "er" / "file", b"new")
    write_bytes(tmp_path / "deep" / "er" / "file", b"newer")
    assert contents(tmp_path) == {"deep/er/file": b"newer"}


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_a_full_disk_is_named_and_the_old_content_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, step, no_space)
    with pytest.raises(StorageError, match="No space left on device") as caught:
        write_bytes(tmp_path / "file", b"new")
    problem = caught.value.problems[0]
    assert (problem.code, problem.place, caught.value.exit_code) == ("storage_full", str(tmp_path / "file"), 5)
    assert "MiB free" in problem.message
    assert "nothing was changed" in problem.hint
    assert contents(tmp_path) == {"file": b"old"}


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_writer_that_is_stopped_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def stopped(*args: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, step, stopped)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "file", b"new")
    assert contents(tmp_path) == {"file": b"old"}


def test_a_missing_file_is_a_storage_error_that_names_it(tmp_path: Path) -> None:
    for read in (sha256_of, read_json):
        with pytest.raises(StorageError, match="No such file") as caught:
            read(tmp_path / "none")
        assert caught.value.problems[0].place == str(tmp_path / "none")


def test_what_the_system_says_of_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="Is a directory"):
        read_json(tmp_path)
    with pytest.raises(StorageError, match="Input/output error"), reporting(tmp_path / "f"):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b'{"a": 1} x'])
def test_damaged_json_is_a_data_error(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(DataError, match="damaged") as caught:
        read_json(tmp_path / "a.json")
    assert caught.value.problems[0].code == "damaged"


def test_json_keeps_order_and_letters_and_refuses_what_is_no_json(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"z": "Uhr ü", "a": [1]})
    assert "ü" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert list(read_json(tmp_path / "a.json").items()) == [("z", "Uhr ü"), ("a", [1])]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_bytes())["a"] == [1]


def test_a_new_folder_takes_its_place_whole(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        with new_folder(tmp_path / "made") as temporary:
            (temporary / "file").write_bytes(content)
            assert temporary.parent == tmp_path
    assert contents(tmp_path) == {"made/file": b"second"}


def test_a_new_folder_whose_block_fails_leaves_the_old_one(tmp_path: Path) -> None:
    with new_folder(tmp_path / "made") as temporary:
        (temporary / "file").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "made") as temporary:
        put_and_stop(temporary / "file", KeyboardInterrupt())
    assert contents(tmp_path) == {"made/file": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def put_and_stop(path: Path, error: BaseException) -> None:
    path.write_bytes(b"new")
    raise error


def test_a_new_folder_on_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StorageError, match="No space left"), new_folder(tmp_path / "made") as temporary:
        (temporary / "file").write_bytes(b"new")
    assert contents(tmp_path) == {"made/file": b"old"}


def test_the_workspace_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MENURA_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.setenv("MENURA_HOME", "~/elsewhere")
    assert home() == Path.home() / "elsewhere"
    monkeypatch.delenv("MENURA_HOME")
    assert home() == Path.home() / ".menura"
