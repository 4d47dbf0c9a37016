"""A file becomes checked text: unpacked, within limits, in UTF-8, or refused with the reason."""

import lzma
import shlex
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from menura.errors import DataError, MenuraError, Problem, StorageError, UnsafeError, printable

MIB = 1024 * 1024
UNPACKING_MEMORY = 128 * MIB  # an xz header may ask for gigabytes before the first byte comes out
NEAR_SHOWN = 3
PACKED_SUFFIXES = (".xz", ".gz")
GZIP_WINDOW = 16 + zlib.MAX_WBITS  # tells zlib to expect a gzip header


@dataclass(frozen=True)
class Limits:
    """How much of a file is read; sizes in bytes, after unpacking."""

    file_bytes: int = 32 * MIB
    lines: int = 100_000
    line_bytes: int = 256 * 1024


UPLOAD = Limits()
# The published train files with candidates are larger than what a user may send.
DATA_SET = Limits(file_bytes=512 * MIB, lines=2_000_000)


@dataclass(frozen=True)
class Source:
    """The text of one file with the ``name`` that messages use and the ``stem`` that dialogue ids use.

    ``beside`` is the other file of a format that takes two.
    """

    name: str
    stem: str
    text: str
    limits: Limits = UPLOAD
    beside: "Source | None" = None

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield (line number from 1, line) for every line that is not blank; DataError beyond the limits."""
        lines = self.text.split("\n")
        self._within_limits(lines)
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield number, line.removesuffix("\r")

    def place(self, line: int) -> str:
        """Return ``file:line``."""
        return f"{self.name}:{line}"

    def _within_limits(self, lines: list[str]) -> None:
        if len(lines) - 1 > self.limits.lines:
            found = f"{len(lines) - 1:,} lines, limit {self.limits.lines:,}"
            raise DataError(found, code="too_large", place=self.name, hint="split the file")
        limit = self.limits.line_bytes
        too_long = [
            Problem("json_limit", f"line longer than {limit // 1024} KiB", self.place(number), "split the dialogue")
            for number, line in enumerate(lines, start=1)
            if len(line) > limit or (len(line) * 4 > limit and len(line.encode()) > limit)
        ]
        if too_long:
            raise DataError.of(too_long)


def opened(path: Path, limits: Limits = UPLOAD) -> Source:
    """Read a whole text file, plain or packed as xz or gz.

    Raises DataError (too large, not UTF-8, damaged, binary), UnsafeError (pickle), StorageError (not readable).
    """
    name = str(path)
    content = _content(path, limits.file_bytes)
    if len(content) > limits.file_bytes:
        raise _too_large(path, name, limits.file_bytes)
    refuse_binary(content, name)
    return Source(name, stem_of(path), _decoded(content, name), limits)


def head_of(path: Path, size: int = 8192) -> str:
    """Return the first ``size`` bytes of the unpacked file as text, for detecting its format."""
    content = _content(path, size)[:size]
    refuse_binary(content, str(path))
    # A character cut in two at the end is no defect of the file.
    return _decoded(content, str(path), cut=len(content) == size)


def stem_of(path: Path) -> str:
    """Return the file's name without its suffix, and without a packing suffix before it."""
    return Path(bare_name(path)).stem


def unreadable(path: Path, error: OSError) -> StorageError:
    """Return the error for a file that cannot be read; one that is not there is ``missing``, with near misses."""
    if not isinstance(error, FileNotFoundError):
        return StorageError(f"cannot be read: {error.strerror}", place=str(path))
    return StorageError("No such file or directory", place=str(path), hint=_near_misses(path), code="missing")


def _near_misses(path: Path) -> str:
    """Return what to type in place of a path that is not there: names of its folder that are nearly the same."""
    try:
        # A name with an escape in it cannot be typed from a message.
        names = {entry.name.casefold(): entry.name for entry in path.parent.iterdir() if entry.name.isprintable()}
    except OSError:
        return f"there is no folder {_typed(path.parent)} either"
    near = get_close_matches(path.name.casefold(), names, n=NEAR_SHOWN)
    if not near:
        return f"nothing in {_typed(path.parent)} is called so"
    return f"did you mean {' or '.join(_typed(path.parent / names[name]) for name in near)}?"


def _typed(path: Path) -> str:
    return printable(shlex.quote(str(path)))


def bare_name(path: Path) -> str:
    """Return the file's name without a packing suffix."""
    name = path.name
    for suffix in PACKED_SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def _content(path: Path, limit: int) -> bytes:
    """Return at most ``limit + 1`` unpacked bytes."""
    try:
        if path.exists() and not path.is_file():
            raise DataError("is not a file", code="not_a_file", place=str(path), hint="give the files one by one")
        with path.open("rb") as file:
            start = file.read(6)
            unpacker = _unpacker(start)
            # Packing makes text smaller, so the limit holds for what is packed as well.
            content = start + file.read(max(limit, MIB if unpacker else 0) + 1 - len(start))
    except OSError as error:
        raise unreadable(path, error) from error
    return content if unpacker is None else _unpacked(content, unpacker, limit + 1, str(path))


class Unpacker(Protocol):
    """What the decompressors of zlib and lzma have in common."""

    @property
    def eof(self) -> bool:
        """Whether the end of a stream was reached."""

    @property
    def unused_data(self) -> bytes:
        """What came after that end."""

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Return at most ``max_length`` bytes."""


def _unpacker(start: bytes) -> Callable[[], Unpacker] | None:
    if start.startswith(b"\x1f\x8b"):
        return lambda: zlib.decompressobj(GZIP_WINDOW)
    if start == b"\xfd7zXZ\x00":
        return lambda: lzma.LZMADecompressor(memlimit=UNPACKING_MEMORY)
    return None


def _unpacked(packed: bytes, unpacker: Callable[[], Unpacker], room: int, name: str) -> bytes:
    """Unpack all streams of a file, ``room`` bytes at most, so that a small file cannot fill the memory."""
    content = b""
    try:
        while packed.strip(b"\0") and len(content) < room:
            stream = unpacker()
            content += stream.decompress(packed, room - len(content))
            if not stream.eof and len(content) < room:
                raise EOFError("it ends too early")
            packed = stream.unused_data.lstrip(b"\0")
    except (EOFError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"damaged packed file ({error})", code="damaged", place=name, hint="fetch it again") from error
    return content


def _too_large(path: Path, name: str, limit: int) -> DataError:
    packed = path.name.endswith(PACKED_SUFFIXES)
    found = f"more than {limit // MIB} MiB unpacked" if packed else f"{path.stat().st_size / MIB:.1f} MiB"
    return DataError(f"{found}, limit {limit // MIB} MiB", code="too_large", place=name, hint="split the file")


def refuse_binary(content: bytes, name: str) -> None:
    """Raise an error for a file that begins like a pickle, a model or another binary file."""
    refusal = _binary(content)
    if refusal is not None:
        raise type(refusal).of([Problem(p.code, p.message, name, p.hint) for p in refusal.problems])


def _binary(content: bytes) -> MenuraError | None:
    if content[:1] == b"\x80" and content[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return UnsafeError("looks like a pickle; pickle files can run code and are not read", hint="export it as JSONL")
    if content.startswith(b"PK\x03\x04"):
        return DataError("is a zip archive, not text", code="binary", hint="unpack it and give the files in it")
    if content.startswith((b"\x89PNG", b"%PDF", b"GGUF", b"\x7fELF", b"SQLite format 3")):
        return DataError("is a binary file, not text", code="binary", hint="export the dialogues as text or JSONL")
    return None


def _decoded(content: bytes, name: str, *, cut: bool = False) -> str:
    try:
        text = content.decode("utf-8-sig", "strict")
    except UnicodeDecodeError as error:
        if cut and error.reason == "unexpected end of data":
            return content[: error.start].decode("utf-8-sig")
        raise _not_utf8(content, error.start, name) from error
    if "\0" in text:
        raise _not_utf8(content, content.index(b"\0"), name)
    return text


def _not_utf8(content: bytes, byte: int, name: str) -> DataError:
    looks = encoding_of(content)
    return DataError(
        f"byte {byte}: not UTF-8 text (looks like {looks})", code="encoding", place=name, hint="save as UTF-8"
    )


def encoding_of(content: bytes) -> str:
    """Return what bytes that are not UTF-8 look like."""
    start = content[:400]
    if start.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    # Latin letters in UTF-16 have a zero byte each.
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or start.count(0) * 3 > len(start):
        return "UTF-16"
    return "binary data" if 0 in content else "Windows-1252 or Latin-1"
