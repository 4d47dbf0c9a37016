"""A chat's file, on disk or inside a zip, as streams of lines and of JSON values, within limits."""

import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import ijson

from menura.corpus.source import MIB, UNPACKING_MEMORY, encoding_of, stem_of, unreadable
from menura.corpus.strict_json import parsed
from menura.errors import DataError, MenuraError, Problem, StorageError

FILE_LIMIT = 2048 * MIB
LINE_LIMIT = MIB
DEPTH_LIMIT = 100
WHOLE_LIMIT = 16 * MIB  # of a JSON document that is parsed at once, which finds more faults and their places
HEAD = 64 * 1024  # bytes that tell the format
CHUNK = 256 * 1024
BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
PACKED = {b"\x1f\x8b": "gzip", b"\xfd7": "xz"}
DAMAGE = (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)

Opener = Callable[[], BinaryIO]


@dataclass(frozen=True)
class ChatFile:
    """One file that may hold a chat; ``opener`` gives its bytes from the start, as often as needed.

    ``name`` is what messages call it, ``stem`` begins the ids of its dialogues. ``beside`` finds a file in the same
    folder or zip. ``encoding`` is empty where the byte order mark or UTF-8 decides.
    """

    name: str
    stem: str
    opener: Opener = field(repr=False)
    size: int
    beside: "Callable[[str], ChatFile | None]" = field(default=lambda name: None, repr=False)
    encoding: str = ""
    path: Path | None = None  # where it lies on the disk by itself
    listed: bool = False  # found in a folder or an archive, so that it may be something else

    @classmethod
    def on_disk(cls, path: Path, encoding: str = "") -> "ChatFile":
        """Return the file at a path; StorageError where it cannot be read."""

        def beside(name: str) -> "ChatFile | None":
            # Slack keeps users.json one folder above the days of a channel.
            places = (path.parent / name, path.parent.parent / name)
            return next((cls.on_disk(other, encoding) for other in places if other.is_file()), None)

        try:
            size = path.stat().st_size
        except OSError as error:
            raise unreadable(path, error) from error
        return cls(str(path), stem_of(path), lambda: io.FileIO(path), size, beside, encoding, path)

    @classmethod
    def of_text(cls, name: str, text: str) -> "ChatFile":
        """Return a file that lies in memory alone."""
        content = text.encode("utf-8", "surrogatepass")
        return cls(name, Path(name).stem, lambda: io.BytesIO(content), len(content))

    def content(self, limit: int) -> bytes:
        """Return all bytes, unpacked; DataError where there are more than ``limit``."""
        with self._opened() as file:
            content = file.read(limit + 1)
        if len(content) > limit:
            raise self._too_large(limit)
        return content

    def start(self) -> bytes:
        """Return the first bytes, unpacked."""
        with self._opened() as file:
            return file.read(400)

    def head(self) -> str:
        """Return the first 64 KiB as text; a character cut in two at the end is left out."""
        with self._opened() as file:
            content = file.read(HEAD)
        decoder = codecs.getincrementaldecoder(self._encoding_of(content))("strict")
        try:
            return decoder.decode(content, final=len(content) < HEAD)
        except UnicodeError as error:
            raise self._not_text(_place_of(error)) from error

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yield (number from 1, line without its end) of all lines, blank ones too.

        Lines end with LF, CRLF or CR. Raises DataError where a line is longer than 1 MiB or bytes are no text.
        """
        with self._opened() as file:
            text = self._text(file, self._encoding())
            number = 0
            while True:
                try:
                    line = text.readline(LINE_LIMIT + 1)
                except UnicodeError as error:
                    raise self._not_text(self._first_bad_byte()) from error
                if not line:
                    return
                number += 1
                if len(line) > LINE_LIMIT:
                    place = f"{self.name}:{number}"
                    raise DataError("line longer than 1 MiB", code="json_limit", place=place, hint="split the line")
                yield number, line.removesuffix("\n")

    def line_ends(self) -> str:
        """Return the ends of the lines in the first 64 KiB: "CR", "CRLF" or "LF"."""
        with self._opened() as file:
            head = file.read(HEAD).replace(b"\0", b"")  # of UTF-16; a card's picture is no text at all
        if b"\r\n" in head:
            return "CRLF"
        return "CR" if b"\r" in head and b"\n" not in head else "LF"

    def values(self, *prefixes: str) -> Iterator[tuple[str, Any]]:
        """Yield (prefix, value) of a JSON document's values that stand at one of these prefixes, in their order.

        A prefix is written as ijson does: ``messages.item`` is every element of the array ``messages``. A document of
        at most 16 MiB is parsed at once, with all faults and their places; a larger one is streamed.
        Raises DataError where the document is no JSON.
        """
        with self._opened() as opened:
            whole = opened.read(WHOLE_LIMIT + 1)
        if len(whole) <= WHOLE_LIMIT:
            encoding = self._encoding_of(whole)
            try:
                text = whole.decode(encoding)
            except UnicodeError as error:
                raise self._not_text(_place_of(error)) from error
            value, problems = parsed(text, self.name, depth=DEPTH_LIMIT)
            if problems:
                raise DataError.of(_with_hint(problems))
            yield from _walked(value, "", frozenset(prefixes))
            return
        yield from self._streamed(frozenset(prefixes))

    def _streamed(self, prefixes: frozenset[str]) -> Iterator[tuple[str, Any]]:
        builder: ijson.ObjectBuilder | None = None
        building, depth = "", 0
        encoding = self._encoding()
        with self._opened() as file:
            # The parser reads UTF-8 without a mark.
            content = file if encoding == "utf-8" else _Recoded(self._text(file, encoding))
            try:
                for prefix, event, value in ijson.parse(content, use_float=True):
                    depth += (event in ("start_map", "start_array")) - (event in ("end_map", "end_array"))
                    if depth > DEPTH_LIMIT:
                        said, hint = f"nested deeper than {DEPTH_LIMIT} levels", "export it again"
                        raise DataError(said, code="json_limit", place=self.name, hint=hint)
                    if builder is None and prefix in prefixes and event in ("start_map", "start_array"):
                        builder, building, ends = ijson.ObjectBuilder(), prefix, depth - 1
                    if builder is not None:
                        builder.event(event, value)
                        if depth == ends:
                            yield building, builder.value
                            builder = None
                    elif prefix in prefixes and event not in ("end_map", "end_array", "map_key"):
                        yield prefix, value
            except ijson.JSONError as error:
                said = error.args[0] if error.args else ""
                said = (said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)).partition("\n")[0]
                if "UTF8" in said:
                    raise self._not_text(self._first_bad_byte()) from error
                message, hint = f"not valid JSON ({said.rstrip('. ')})", "the file may be cut off: export it again"
                raise DataError(message, code="jsonl_syntax", place=self.name, hint=hint) from error
            except UnicodeError as error:
                raise self._not_text(self._first_bad_byte()) from error

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Give the unpacked bytes; errors of the disk and of damaged packing become Menura's."""
        try:
            with self.opener() as file:
                start = file.read(2)
                file.seek(0)
                unpacked: IO[bytes] = file
                if PACKED.get(start) == "gzip":
                    unpacked = cast(IO[bytes], gzip.GzipFile(fileobj=file))
                elif PACKED.get(start) == "xz":
                    unpacked = cast(IO[bytes], io.BufferedReader(_Xz(file), CHUNK))
                yield cast(BinaryIO, _Bounded(unpacked, self))
        except MenuraError:
            raise
        except DAMAGE as error:
            raise DataError(
                f"damaged packed file ({error})", code="damaged", place=self.name, hint="fetch it again"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot be read: {error.strerror or error}", place=self.name) from error

    @staticmethod
    def _text(file: BinaryIO, encoding: str) -> io.TextIOWrapper:
        # A BufferedReader stands between, as gzip's reader gives its bytes in small pieces.
        return io.TextIOWrapper(io.BufferedReader(cast(Any, file), CHUNK), encoding, newline=None)

    def _encoding(self) -> str:
        with self._opened() as file:
            return self._encoding_of(file.read(4))

    def _encoding_of(self, start: bytes) -> str:
        for mark, name in BYTE_ORDER_MARKS:
            if start.startswith(mark):
                return name
        return self.encoding or "utf-8"

    def _first_bad_byte(self) -> int:
        """Return where the first byte stands that is no text."""
        decoder = codecs.getincrementaldecoder(self._encoding())("strict")
        read = 0
        with self._opened() as file:
            while chunk := file.read(CHUNK):
                waiting = len(decoder.getstate()[0])
                try:
                    decoder.decode(chunk)
                except UnicodeError as error:
                    return read - waiting + _place_of(error)
                read += len(chunk)
        return read

    def _not_text(self, byte: int) -> DataError:
        wanted = self.encoding or "UTF-8"
        message = f"byte {byte}: not {wanted} text (looks like {encoding_of(self.start())})"
        hint = "save as UTF-8"
        if not self.start().lstrip().startswith(b"{"):  # JSON is UTF-8
            hint += ", or say what it is: --encoding cp1252"
        return DataError(message, code="encoding", place=self.name, hint=hint)

    def _too_large(self, limit: int) -> DataError:
        return DataError(f"more than {limit // MIB} MiB", code="too_large", place=self.name, hint="split the file")


class _Bounded(io.RawIOBase):
    """Bytes that end with an error beyond the limit, so that a small packed file cannot give endless text."""

    def __init__(self, file: IO[bytes], owner: ChatFile) -> None:
        self._file, self._owner, self._left = file, owner, FILE_LIMIT

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        content = self._file.read(size)
        self._left -= len(content)
        if self._left < 0:
            raise self._owner._too_large(FILE_LIMIT)
        return content

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)


class _Xz(io.RawIOBase):
    """The bytes of an xz file; unpacking it may not take more memory than is allowed, whatever its header asks for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._stream = file, lzma.LZMADecompressor(memlimit=UNPACKING_MEMORY)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        content = b""
        while not content:
            waiting = self._stream.unused_data if self._stream.eof else b""
            packed = waiting or (self._file.read(CHUNK) if self._stream.eof or self._stream.needs_input else b"")
            if self._stream.eof:
                packed = packed.lstrip(b"\0")  # between streams
                if not packed:
                    return 0
                self._stream = lzma.LZMADecompressor(memlimit=UNPACKING_MEMORY)
            elif self._stream.needs_input and not packed:
                raise EOFError("it ends too early")
            content = self._stream.decompress(packed, len(buffer))
        buffer[: len(content)] = content
        return len(content)


class _Recoded:
    """Text as bytes of UTF-8, for a parser that reads nothing else."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes: up to four for each of ``size`` characters."""
        return self._text.read(size).encode("utf-8", "surrogatepass")


def _walked(value: Any, prefix: str, wanted: frozenset[str]) -> Iterator[tuple[str, Any]]:
    """Yield what a streaming parser would of a value that lies in memory."""
    if prefix in wanted:
        yield prefix, value
        return
    # Only paths that lead to something wanted are walked, so that the depth is that of the longest of them.
    if not any(other.startswith(prefix) for other in wanted):
        return
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _walked(below, f"{prefix}.{key}" if prefix else key, wanted)
    elif isinstance(value, list):
        for below in value:
            yield from _walked(below, f"{prefix}.item" if prefix else "item", wanted)


def _place_of(error: UnicodeError) -> int:
    """Return the byte that is no text; a decoder that misses a mark at the start gives none."""
    return error.start if isinstance(error, UnicodeDecodeError) else 0


def _with_hint(problems: list[Problem]) -> list[Problem]:
    return [
        Problem(one.code, one.message, one.place, one.hint or "the file may be cut off: export it again", one.level)
        for one in problems
    ]
