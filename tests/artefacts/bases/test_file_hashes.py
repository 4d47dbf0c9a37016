"""A large file is hashed once; one that was changed is hashed again."""

import os
from pathlib import Path

import pytest

from menura.artefacts.bases import file_hashes
from menura.artefacts.bases.file_hashes import joint_sha256_of, large_sha256_of
from menura.artefacts.files import sha256_of
from menura.errors import StorageError


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list of the files that are read whole, where any file is large."""
    read: list[Path] = []

    def reading(path: Path) -> str:
        read.append(path)
        return sha256_of(path)

    monkeypatch.setattr(file_hashes, "LARGE", 0)
    monkeypatch.setattr(file_hashes, "sha256_of", reading)
    return read


def written(path: Path, content: bytes, seconds: int = 1000) -> Path:
    path.write_bytes(content)
    os.utime(path, (seconds, seconds))
    return path


def test_a_file_is_read_once_and_again_when_it_has_changed(empty_workspace: Path, counted: list[Path]) -> None:
    file = written(empty_workspace / "a", b"one")
    first = large_sha256_of(file)
    assert [large_sha256_of(file), large_sha256_of(file)] == [first, first]
    assert counted == [file]
    other = large_sha256_of(written(file, b"two", 1001))
    assert other == sha256_of(file) != first
    assert large_sha256_of(written(file, b"three", 1001)) == sha256_of(file)
    assert len(counted) == 3


def test_a_file_changed_just_now_is_not_remembered(empty_workspace: Path, counted: list[Path]) -> None:
    (empty_workspace / "a").write_bytes(b"one")
    for _ in range(2):
        large_sha256_of(empty_workspace / "a")
    assert len(counted) == 2


def test_a_link_and_its_file_are_one(empty_workspace: Path, counted: list[Path]) -> None:
    file = written(empty_workspace / "a", b"one")
    (empty_workspace / "b").symlink_to(file)
    assert large_sha256_of(file) == large_sha256_of(empty_workspace / "b")
    assert len(counted) == 1


@pytest.mark.parametrize("damage", ["{", "[]", '{"PATH": 3}', '{"PATH": [3, 1000000000000, 7]}', '{"PATH": []}'])
def test_damaged_hashes_are_found_again(empty_workspace: Path, counted: list[Path], damage: str) -> None:
    file = written(empty_workspace / "a", b"one")
    (empty_workspace / "bases").mkdir()
    (empty_workspace / "bases" / "hashes.json").write_text(damage.replace("PATH", str(file)))
    assert large_sha256_of(file) == sha256_of(file)
    assert len(counted) == 1


def test_several_files_have_the_hash_of_their_hashes_in_order(empty_workspace: Path) -> None:
    files = [written(empty_workspace / name, name.encode()) for name in "ab"]
    assert joint_sha256_of(files[:1]) == sha256_of(files[0])
    assert len({joint_sha256_of(files), joint_sha256_of(files[::-1]), sha256_of(files[0])}) == 3
    with pytest.raises(StorageError, match="No such file"):
        joint_sha256_of([empty_workspace / "none"])
