"""An archive or a folder becomes its members, one at a time; nothing is written and no member's path is trusted."""

import gzip
import io
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from menura.corpus.source import DATA_SET, MIB, unreadable
from menura.errors import DataError, shown

ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # the other one is that of an empty archive
GZIP_START = b"\x1f\x8b"
TAR_MARK, TAR_MARK_AT = b"ustar", 257
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may ask for gigabytes of memory, or are not read
MEMBERS_LIMIT = 100_000
UNPACKED_LIMIT = 16_384 * MIB  # of all members together
MEMBER_LIMIT = DATA_SET.file_bytes
ARCHIVE_ENDINGS = (".zip", ".tgz", ".tar.gz", ".tar")
PAGE_STARTS = (b"<!doctype html", b"<html")
HEAD = 512
CHUNK = MIB
# The last two are what zipfile says of a list that names impossible versions and dates.
DAMAGE = (
    *(EOFError, zlib.error, zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile),
    *(NotImplementedError, ValueError),
)


@dataclass(frozen=True)
class Member:
    """One file of an archive or a folder; ``opener`` gives its bytes and is called before the next member comes."""

    name: str
    size: int
    opener: Callable[[], IO[bytes]]

    @property
    def path(self) -> PurePosixPath:
        """Its path in the archive."""
        return path_of(self.name)

    def chunks(self, place: str) -> Iterator[bytes]:
        """Yield its bytes; DataError, with ``place``, where it is damaged or larger than a file may be."""
        left = MEMBER_LIMIT
        with _telling_damage(place), self.opener() as file:
            while chunk := file.read(CHUNK):
                left -= len(chunk)
                if left < 0:
                    found = f"{shown(self.name)} has more than {MEMBER_LIMIT // MIB} MiB"
                    raise DataError(found, code="too_large", place=place, hint="unpack it and split the file")
                yield chunk


def path_of(name: str) -> PurePosixPath:
    """Return a member's name as a path, whatever system the archive was made on."""
    return PurePosixPath(name.replace("\\", "/"))


def holds_members(path: Path) -> bool:
    """Tell whether a path is a folder, a zip or a tar archive, packed by gzip or not.

    Raises DataError for a web page that was saved under the name of an archive, StorageError for what cannot be read.
    """
    if path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            start = file.read(HEAD)
    except OSError as error:
        raise unreadable(path, error) from error
    if path.name.lower().endswith(ARCHIVE_ENDINGS) and start.lstrip().lower().startswith(PAGE_STARTS):
        hint = "open the address of the download in a browser, and confirm what it asks"
        raise DataError("is a web page, not an archive", code="web_page", place=str(path), hint=hint)
    return start.startswith(ZIP_STARTS) or _is_tar(start) or (start.startswith(GZIP_START) and _holds_tar(path))


def members(path: Path) -> Iterator[Member]:
    """Yield the files of a folder or an archive, and those of zip archives among them.

    Links and what a Mac adds are left out. Raises DataError for an archive that is cut off, damaged, protected by a
    password or larger than any corpus.
    """
    place = str(path)
    with _telling_damage(place):
        for member in _of_folder(path) if path.is_dir() else _of_archive(path.open("rb"), place):
            yield member
            if member.name.lower().endswith(".zip") and member.size <= MEMBER_LIMIT:
                inner = io.BytesIO(b"".join(member.chunks(place)))
                yield from _of_archive(inner, f"{place}:{member.name}", f"{member.name}/")


def _of_folder(folder: Path) -> Iterator[Member]:
    for count, path in enumerate(sorted(folder.rglob("*"))):
        _refuse_many(count, str(folder))
        name = path.relative_to(folder)
        if path.is_file() and _of_interest(str(name)):
            yield Member(str(name), path.stat().st_size, partial(_opened, path))


def _of_archive(file: IO[bytes], place: str, prefix: str = "") -> Iterator[Member]:
    with file:
        start = file.read(HEAD)
        file.seek(0)
        found = _of_zip(file, place) if start.startswith(ZIP_STARTS) else _of_tar(file)
        total = 0
        for count, member in enumerate(found):
            _refuse_many(count, place)
            total += member.size
            if total > UNPACKED_LIMIT:
                limit = f"unpacks to more than {UNPACKED_LIMIT // (1024 * MIB)} GiB"
                raise DataError(limit, code="too_large", place=place, hint="unpack it and give the files")
            if _of_interest(member.name):
                yield Member(prefix + member.name, member.size, member.opener)


def _of_zip(file: IO[bytes], place: str) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        infos = [
            info for info in archive.infolist() if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16)
        ]
        if any(info.flag_bits & 1 for info in infos):
            hint = "unpack it with the password and give the files in it"
            raise DataError("protected by a password", code="encrypted", place=place, hint=hint)
        for info in sorted(infos, key=lambda info: info.filename):
            if info.compress_type in PACKINGS:
                yield Member(info.filename, info.file_size, partial(archive.open, info))


def _of_tar(file: IO[bytes]) -> Iterator[Member]:
    packed = file.read(len(GZIP_START)) == GZIP_START
    file.seek(0)
    # Python's own reader of gzip knows an archive that is cut off anywhere; tarfile's stops at some places in silence.
    content = cast(IO[bytes], gzip.GzipFile(fileobj=file)) if packed else file
    with tarfile.open(fileobj=content, mode="r:") as archive:
        for info in archive:
            if info.isreg():
                yield Member(info.name, info.size, partial(_extracted, archive, info))


def _opened(path: Path) -> IO[bytes]:
    return path.open("rb")


def _extracted(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(info)
    assert content is not None, "only of links and folders there is nothing to read"
    return content


def _of_interest(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.name.startswith(".") and "__MACOSX" not in path.parts and ".git" not in path.parts


def _refuse_many(count: int, place: str) -> None:
    if count >= MEMBERS_LIMIT:
        found = f"more than {MEMBERS_LIMIT:,} files in it"
        raise DataError(found, code="too_large", place=place, hint="give a folder with the corpus alone")


def _is_tar(start: bytes) -> bool:
    return start[TAR_MARK_AT : TAR_MARK_AT + len(TAR_MARK)] == TAR_MARK


def _holds_tar(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            return _is_tar(file.read(HEAD))
    except (EOFError, OSError, zlib.error):
        return path.name.lower().endswith(ARCHIVE_ENDINGS)  # then it is said that it is damaged


@contextmanager
def _telling_damage(place: str) -> Iterator[None]:
    try:
        yield
    except DAMAGE as error:
        message = f"archive is cut off or damaged ({error})"
        raise DataError(message, code="damaged", place=place, hint="fetch it again") from error
    except OSError as error:
        raise unreadable(Path(place), error) from error
