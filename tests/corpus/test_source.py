"""Files become text within limits, or one error that says what is wrong."""

import gzip
import lzma
import pickle
import shlex
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from menura.corpus.inputs import inputs
from menura.corpus.source import Limits, head_of, opened, stem_of
from menura.errors import DataError, MenuraError, StorageError, UnsafeError

TEXT = "Ann: shall we sail today?\nBob: if the wind agrees.\n"


def written(folder: Path, content: bytes, name: str = "talk.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def code_of(path: Path, limits: Limits | None = None) -> str:
    with pytest.raises(MenuraError) as caught:
        opened(path, limits) if limits else opened(path)
    return caught.value.problems[0].code


@pytest.mark.parametrize(
    "packed",
    [TEXT.encode(), gzip.compress(TEXT.encode(), mtime=0), lzma.compress(TEXT.encode())],
    ids=["plain", "gz", "xz"],
)
def test_plain_gz_and_xz_files_give_the_same_text(tmp_path: Path, packed: bytes) -> None:
    assert opened(written(tmp_path, packed)).text == TEXT


def test_all_streams_of_a_packed_file_are_read(tmp_path: Path) -> None:
    packed = gzip.compress(b"Ann: one\n") + gzip.compress(b"Bob: two\n")
    assert opened(written(tmp_path, packed)).text == "Ann: one\nBob: two\n"


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    assert opened(written(tmp_path, b"\xef\xbb\xbf" + TEXT.encode())).text == TEXT


@pytest.mark.parametrize(
    ("encoding", "named"), [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("utf-32", "UTF-32"), ("latin-1", "Latin-1")]
)
def test_another_encoding_is_named(tmp_path: Path, encoding: str, named: str) -> None:
    path = written(tmp_path, "Ann: où est la clé?\n".encode(encoding))
    with pytest.raises(DataError, match=named) as caught:
        opened(path)
    assert caught.value.problems[0].code == "encoding"
    assert caught.value.problems[0].hint == "save as UTF-8"


def test_a_file_above_the_limit_is_refused_with_both_sizes(tmp_path: Path) -> None:
    path = written(tmp_path, b"x" * (3 * 1024 * 1024))
    with pytest.raises(DataError, match=r"3\.0 MiB, limit 1 MiB"):
        opened(path, Limits(file_bytes=1024 * 1024))


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_small_file_that_unpacks_beyond_the_limit_is_refused(tmp_path: Path, pack) -> None:
    path = written(tmp_path, pack(b" " * (2 * 1024 * 1024)), "bomb.jsonl.xz")
    assert path.stat().st_size < 10_000
    assert code_of(path, Limits(file_bytes=1024 * 1024)) == "too_large"


@pytest.mark.parametrize("packed", [gzip.compress(TEXT.encode(), mtime=0)[:-12], lzma.compress(TEXT.encode())[:-20]])
def test_a_truncated_packed_file_is_called_damaged(tmp_path: Path, packed: bytes) -> None:
    assert code_of(written(tmp_path, packed)) == "damaged"


def test_a_renamed_pickle_is_refused_as_unsafe(tmp_path: Path) -> None:
    path = written(tmp_path, pickle.dumps([{"turns": []}]), "talk.jsonl")
    with pytest.raises(UnsafeError, match="pickle"):
        opened(path)


def test_a_renamed_zip_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("talk.jsonl", TEXT)
    assert code_of(path) == "binary"


def test_text_with_a_zero_byte_is_refused(tmp_path: Path) -> None:
    assert code_of(written(tmp_path, b"Ann: hi\0\n")) == "encoding"


def test_a_folder_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    assert code_of(tmp_path) == "not_a_file"
    with pytest.raises(StorageError, match="No such file"):
        opened(tmp_path / "nothing.txt")


def test_too_many_lines_are_refused(tmp_path: Path) -> None:
    source = opened(written(tmp_path, b"Ann: hi\n" * 11), Limits(lines=10))
    with pytest.raises(DataError, match="11 lines, limit 10"):
        list(source.lines())


def test_every_line_that_is_too_long_is_listed_with_its_place(tmp_path: Path) -> None:
    source = opened(written(tmp_path, "é".encode() * 600 + b"\nshort\n" + b"x" * 1025), Limits(line_bytes=1024))
    with pytest.raises(DataError) as caught:
        list(source.lines())
    assert [problem.place.rsplit(":", 1)[1] for problem in caught.value.problems] == ["1", "3"]


def test_blank_lines_are_passed_over_but_counted(tmp_path: Path) -> None:
    source = opened(written(tmp_path, b"one\r\n\r\n  \nfour"))
    assert list(source.lines()) == [(1, "one"), (4, "four")]


def test_the_head_may_end_in_the_middle_of_a_character(tmp_path: Path) -> None:
    path = written(tmp_path, "aé".encode())
    assert head_of(path, 2) == "a"


def test_the_stem_has_neither_suffix_nor_packing() -> None:
    assert stem_of(Path("a/talk.jsonl.xz")) == "talk"
    assert stem_of(Path("talk.txt")) == "talk"


@pytest.mark.parametrize("read", [opened, lambda path: inputs(path)], ids=["a data set", "a chat"])
def test_a_mistyped_name_is_missing_and_answered_with_what_could_be_meant(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    (tmp_path / "WhatsApp Chat.txt").touch()
    (tmp_path / "else.png").touch()
    with pytest.raises(StorageError) as caught:
        read(tmp_path / "WhatsAp Chat.txt")
    (problem,) = caught.value.problems
    assert (problem.code, problem.place) == ("missing", str(tmp_path / "WhatsAp Chat.txt"))
    assert problem.hint == f"did you mean {shlex.quote(str(tmp_path / 'WhatsApp Chat.txt'))}?"


def test_where_nothing_is_called_alike_the_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=f"nothing in {tmp_path} is called so"):
        inputs(tmp_path / "chat.txt")
    with pytest.raises(StorageError, match=f"there is no folder {tmp_path}/no either"):
        inputs(tmp_path / "no" / "chat.txt")
