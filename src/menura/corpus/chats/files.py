"""Files, folders and zip archives become the single files that may hold chats; nothing is unpacked on the disk."""

import stat
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from menura.corpus.chats.chat_file import FILE_LIMIT, ChatFile
from menura.corpus.source import MIB, unreadable
from menura.errors import DataError, UnsafeError, shown

CARD = "card.json"
ZIP_STARTS = (b"PK\x03\x04", b"PK\x05\x06")  # the other one is that of an empty archive
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may ask for gigabytes of memory, or are not read
MEMBERS_LIMIT = 100_000
FILES_LIMIT = 10_000
RATIO_LIMIT = 1000  # of unpacked to packed size, from 10 MiB on; texts stay far below it
RATIO_FROM = 10 * MIB
# Endings of files that may hold a chat; all others in a folder or an archive are media and the like.
ENDINGS: tuple[str, ...] = (
    ".txt",
    ".json",
    ".jsonl",
    ".ndjson",
    ".html",
    ".htm",
    ".csv",
    ".tsv",
    ".srt",
    ".vtt",
    ".md",
    ".log",
)
ENDINGS += (".png", ".charx", ".xz", ".gz", ".fountain")
# Files of exports that hold no messages.
OTHERS = ("users.json", "channels.json", "dms.json", "groups.json", "mpims.json", "integration_logs.json")


def chat_files(paths: Sequence[Path], encoding: str = "") -> list[ChatFile]:
    """Return the single files of what was given: files as they are, of folders and archives those that may be chats.

    Raises StorageError for what cannot be read, DataError for an archive without any chat or with a password,
    UnsafeError for one with paths or sizes that no export has.
    """
    found: list[ChatFile] = []
    for path in paths:
        if path.is_dir():
            found += _of_folder(path, encoding)
        elif _is_archive(path):
            found += _of_archive(path, encoding)
        else:
            found.append(ChatFile.on_disk(path, encoding))
    return found


def _of_folder(folder: Path, encoding: str) -> list[ChatFile]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and may_be_chat(path.name))
    if not files:
        raise DataError("no file in it may be a chat", code="empty", place=str(folder), hint="give the export itself")
    if len(files) > FILES_LIMIT:
        found = f"{len(files):,} files, limit {FILES_LIMIT:,}"
        raise DataError(found, code="too_large", place=str(folder), hint="give a folder with one chat")
    return [replace(ChatFile.on_disk(path, encoding), listed=True) for path in files]


def may_be_chat(name: str) -> bool:
    """Return whether a file in a folder or archive is looked at."""
    path = PurePosixPath(name)
    return path.suffix.lower() in ENDINGS and path.name not in OTHERS and not path.name.startswith((".", "._"))


def _is_archive(path: Path) -> bool:
    """Tell whether a file is a zip archive of several files; a character card in a zip is one file."""
    try:
        with path.open("rb") as file:
            if file.read(4) not in ZIP_STARTS:
                return False
    except OSError as error:
        raise unreadable(path, error) from error
    try:
        with zipfile.ZipFile(path) as archive:
            return CARD not in archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return True


def _of_archive(path: Path, encoding: str) -> list[ChatFile]:
    try:
        # It stays open as long as its files are held: opening it means reading the list of all of them.
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        message = f"damaged zip archive ({error})"
        raise DataError(message, code="damaged", place=str(path), hint="export or copy it again") from error
    members = archive.infolist()
    _check(members, path)
    by_name = {member.filename: member for member in members}

    def opened(name: str) -> ChatFile:
        member = by_name[name]
        folder = PurePosixPath(name).parent

        def beside(other: str) -> ChatFile | None:
            # Slack keeps users.json one folder above the days of a channel.
            places = (str(folder / other), str(folder.parent / other))
            return next((opened(place) for place in places if place in by_name), None)

        return ChatFile(
            f"{path}:{name}",
            PurePosixPath(name).stem,
            lambda: cast(BinaryIO, archive.open(member)),
            member.file_size,
            beside,
            encoding,
            listed=True,
        )

    chats = [opened(name) for name in sorted(by_name) if may_be_chat(name) and not name.startswith("__MACOSX")]
    if not chats:
        kinds = ", ".join(sorted({PurePosixPath(name).suffix.lower() for name in by_name if "." in name})[:5])
        held = f"only {kinds} files in it" if kinds else "no files in it"
        hint = "export the chat with its text (_chat.txt, result.json, …)"
        if any(name.lower().endswith(".zip") for name in by_name):
            hint = "unpack it and give the archives in it"
        raise DataError(f"{held}, none of which may be a chat", code="empty", place=str(path), hint=hint)
    return chats


def _check(members: Sequence[zipfile.ZipInfo], path: Path) -> None:
    """Raise an error for an archive that no messenger wrote."""
    if len(members) > MEMBERS_LIMIT:
        found = f"{len(members):,} files in it, limit {MEMBERS_LIMIT:,}"
        raise UnsafeError(found, place=str(path), code="zip_bomb", hint="unpack it and give the chat alone")
    for member in members:
        for reason, code in _faults(member):
            raise UnsafeError(
                f"{shown(member.filename)} {reason}", place=str(path), code=code, hint="export the chat again"
            )
    if any(member.flag_bits & 1 for member in members):
        hint = "unpack it with the password and give the files in it"
        raise DataError("protected by a password", code="encrypted", place=str(path), hint=hint)
    for member in members:
        if member.compress_type not in PACKINGS and may_be_chat(member.filename):
            said = f"{shown(member.filename)} is packed in a way that is not read"
            raise DataError(said, code="damaged", place=str(path), hint="unpack it and give the files in it")


def _faults(member: zipfile.ZipInfo) -> Iterator[tuple[str, str]]:
    parts = PurePosixPath(member.filename.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or member.filename[1:2] == ":":
        yield "leads out of the archive", "unsafe_zip"
    if stat.S_ISLNK(member.external_attr >> 16):
        yield "is a link", "unsafe_zip"
    if member.file_size > FILE_LIMIT:
        yield f"unpacks to more than {FILE_LIMIT // MIB} MiB", "zip_bomb"
    if member.file_size > RATIO_FROM and member.file_size > RATIO_LIMIT * max(member.compress_size, 1):
        yield "unpacks to more than a thousand times its size", "zip_bomb"
