"""An archive or a folder becomes its members; a damaged one is named."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from made_up_archives import tarred, zip_bytes, zipped

from menura.corpus.published import members as module
from menura.corpus.published.members import holds_members, members
from menura.errors import DataError

FILES = {"a/one.txt": "one", "two.txt": "two " * 5000}


def read(path: Path) -> dict[str, bytes]:
    """Return the members of an archive or a folder with what they hold."""
    return {member.name: b"".join(member.chunks(str(path))) for member in members(path)}


@pytest.mark.parametrize("name", ["x.zip", "x.tgz", "x.tar.gz", "x.tar"])
def test_members_of_archives_are_found_whatever_the_archive_is_called(tmp_path: Path, name: str) -> None:
    path = (zipped if name.endswith("zip") else tarred)(tmp_path / name, FILES)
    assert holds_members(path)
    assert read(path) == {name: text.encode() for name, text in FILES.items()}
    renamed = path.rename(tmp_path / "download")
    assert holds_members(renamed)
    assert read(renamed) == {name: text.encode() for name, text in FILES.items()}


def test_a_folder_has_members_too(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.txt").write_text("one")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text("")
    assert holds_members(tmp_path)
    assert read(tmp_path) == {os.path.join("a", "one.txt"): b"one"}


def test_a_text_and_a_packed_text_are_no_archives(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("1 tea ?\tgladly .")
    (tmp_path / "x.gz").write_bytes(gzip.compress(b"1 tea ?\tgladly ." * 100))
    assert not holds_members(tmp_path / "x.txt")
    assert not holds_members(tmp_path / "x.gz")


def test_archives_in_an_archive_are_opened_one_level_deep(tmp_path: Path) -> None:
    deepest = zip_bytes({"deep.txt": "3"})
    path = zipped(tmp_path / "x.zip", {"inner.zip": zip_bytes({"one.txt": "2", "inmost.zip": deepest})})
    assert set(read(path)) == {"inner.zip", "inner.zip/one.txt", "inner.zip/inmost.zip"}


def test_links_and_what_a_mac_adds_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.tgz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        for name in ("__MACOSX/two.txt", "._one.txt", "one.txt"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"one"))
    assert read(path) == {"one.txt": b"one"}


@pytest.mark.parametrize("name", ["x.zip", "x.tgz", "x.tar"])
@pytest.mark.parametrize("share", [0.0003, 0.3, 0.6, 0.9])
def test_an_archive_that_is_cut_off_is_damaged(tmp_path: Path, name: str, share: float) -> None:
    noise = {f"{number}.txt": os.urandom(20_000) for number in range(5)}
    path = (zipped if name.endswith("zip") else tarred)(tmp_path / name, noise)
    content = path.read_bytes()
    path.write_bytes(content[: max(int(len(content) * share), 20 if name != "x.tar" else 400)])
    with pytest.raises(DataError, match="cut off or damaged.*fetch it again") as raised:
        read(path)
    assert raised.value.problems[0].code == "damaged"
    assert raised.value.problems[0].place == str(path)


def test_a_bit_that_changed_on_the_way_is_damage(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"one.txt": os.urandom(5000)})
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="cut off or damaged"):
        read(path)


def test_a_web_page_under_the_name_of_an_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mojitalk_data.zip"
    path.write_text("<!DOCTYPE html><html>Google Drive can't scan this file")
    with pytest.raises(DataError, match="is a web page, not an archive.*in a browser") as raised:
        holds_members(path)
    assert raised.value.problems[0].code == "web_page"


def test_an_archive_with_a_password_is_told(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", {"one.txt": "one"})
    content = bytearray(path.read_bytes())
    for start in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
        content[start] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="protected by a password") as raised:
        read(path)
    assert raised.value.problems[0].code == "encrypted"


def test_members_are_bounded_in_size_and_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "x.zip", FILES)
    for limit, message in (("MEMBER_LIMIT", "'two.txt' has more than"), ("MEMBERS_LIMIT", "more than 1 files in it")):
        with monkeypatch.context() as patch:
            patch.setattr(module, limit, 10 if limit == "MEMBER_LIMIT" else 1)
            with pytest.raises(DataError, match=message) as raised:
                read(path)
            assert raised.value.problems[0].code == "too_large"
    monkeypatch.setattr(module, "UNPACKED_LIMIT", 100)
    with pytest.raises(DataError, match="unpacks to more than"):
        read(path)
