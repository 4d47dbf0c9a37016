"""PNG and CHARX files that carry a character card: its JSON comes out within limits, and goes in again.

Pixels are never decoded and of a zip only ``card.json`` is unpacked.
"""

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from menura.errors import DataError, UnsafeError

MIB = 1024 * 1024
PNG_LIMIT = 16 * MIB
TEXT_LIMIT = MIB  # a card's JSON, a text chunk after unpacking
SIDE_LIMIT = 4096  # pixels
TEXT_CHUNKS_LIMIT = 256
CHUNKS_LIMIT = 16_384  # of all kinds: pixels alone need 2,048 where a chunk holds 8 KiB
MEMBERS_LIMIT = 4096

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
ZIP_SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
TEXT_KINDS = (b"tEXt", b"zTXt", b"iTXt")
CARD_KEYWORDS = ("ccv3", "chara")  # the newer one first: it is read where a PNG has both
CARD_MEMBER = "card.json"
PLAIN_SIDE = 64
PLAIN_COLOUR = b"\x88\x99\xaa"
# What the library raises on a damaged zip besides BadZipFile: NotImplementedError is a packing it does not know.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    IndexError,
)


@dataclass(frozen=True)
class Chunk:
    """One chunk of a PNG: its kind, its body, and all its bytes with length and checksum."""

    kind: bytes
    body: bytes
    whole: bytes


def missing(message: str, place: str, hint: str = "") -> DataError:
    """Return the error for a file that holds no card that could be read."""
    return DataError(message, place=place, code="card_missing", hint=hint or "export the card again as PNG or JSON")


def damaged(message: str, place: str, hint: str = "") -> DataError:
    """Return the error for a card that is there and cannot be read."""
    return DataError(message, place=place, code="card_syntax", hint=hint or "export the card again")


def bomb(message: str, place: str, hint: str) -> UnsafeError:
    """Return the error for a file beyond one of the limits."""
    return UnsafeError(message, place=place, code="card_bomb", hint=hint)


def png_card_texts(content: bytes, name: str) -> list[tuple[str, bytes]]:
    """Return (keyword, text) of every ``ccv3`` and ``chara`` chunk, in the order of CARD_KEYWORDS, then of the file."""
    texts = [text for chunk in png_chunks(content, name) if (text := _card_text(chunk, name))]
    if not texts:
        raise missing('PNG has no character data (no "chara" or "ccv3" text chunk)', name)
    return sorted(texts, key=lambda text: CARD_KEYWORDS.index(text[0]))


def png_chunks(content: bytes, name: str) -> list[Chunk]:
    """Return the chunks up to IEND, checksums, size and number checked; what follows IEND is no part of the picture."""
    if not content.startswith(PNG_SIGNATURE):
        raise missing("not a PNG", name)
    if len(content) > PNG_LIMIT:
        found = f"{len(content) / MIB:.1f} MiB, limit {PNG_LIMIT // MIB} MiB"
        raise bomb(found, name, "save the picture smaller, or export the card as JSON")
    chunks = list(_walk(content, name))
    _check_sides(chunks[0], name)
    return chunks


def _walk(content: bytes, name: str) -> Iterator[Chunk]:
    at = len(PNG_SIGNATURE)
    kind, text_chunks, count = b"", 0, 0
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", content, at) if at + 12 <= len(content) else (len(content), b"")
        whole = content[at : at + 12 + length]
        if len(whole) < 12 + length:
            raise missing(f"PNG is cut off (byte {at})", name)
        if zlib.crc32(whole[4:-4]) != int.from_bytes(whole[-4:], "big"):
            raise missing(f"PNG is damaged: {kind!r} chunk at byte {at} has a wrong checksum", name)
        count, text_chunks = count + 1, text_chunks + (kind in TEXT_KINDS)
        if text_chunks > TEXT_CHUNKS_LIMIT:
            raise bomb(f"PNG has more than {TEXT_CHUNKS_LIMIT} text chunks", name, "save the picture without comments")
        if count > CHUNKS_LIMIT:
            raise bomb(f"PNG has more than {CHUNKS_LIMIT:,} chunks", name, "save the picture again")
        yield Chunk(kind, whole[8:-4], whole)
        at += len(whole)


def _check_sides(header: Chunk, name: str) -> None:
    if header.kind != b"IHDR" or len(header.body) != 13:
        raise missing("PNG is damaged: it does not begin with an IHDR chunk of 13 bytes", name)
    width, height = struct.unpack_from(">II", header.body)
    if max(width, height) > SIDE_LIMIT:
        raise bomb(f"PNG of {width} x {height} pixels, limit {SIDE_LIMIT} a side", name, "save the picture smaller")
    if not width or not height:
        raise missing("PNG is damaged: a side of 0 pixels", name)


def _card_keyword(chunk: Chunk) -> str:
    keyword = chunk.body.partition(b"\0")[0].decode("latin-1").lower() if chunk.kind in TEXT_KINDS else ""
    return keyword if keyword in CARD_KEYWORDS else ""


def _card_text(chunk: Chunk, name: str) -> tuple[str, bytes] | None:
    """Return (keyword, text) of a chunk that holds a card; other packed texts are held to the same limit."""
    keyword = _card_keyword(chunk)
    rest = chunk.body.partition(b"\0")[2]
    packed = chunk.kind == b"zTXt"
    if chunk.kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[1:2] + rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    if not keyword and not packed:
        return None
    place = f"{name}:{keyword or 'text chunk'}"
    text = _unpacked(rest[1:], place) if packed else rest if chunk.kind == b"tEXt" else rest[1:]
    if text is not None and len(text) > TEXT_LIMIT:
        hint = "shorten the card's lorebook and texts, or save the picture without its comments"
        raise bomb(f"text chunk larger than {TEXT_LIMIT // MIB} MiB", place, hint)
    if not keyword:
        return None
    if text is None:
        raise damaged("the packed text is damaged", place)
    return keyword, text


def _unpacked(packed: bytes, place: str) -> bytes | None:
    """Return at most one byte more than the limit, None if the packed bytes are damaged."""
    unpacking = zlib.decompressobj()
    try:
        text = unpacking.decompress(packed, TEXT_LIMIT + 1)
    except zlib.error:
        return None
    return text if unpacking.eof or len(text) > TEXT_LIMIT else None


def png_with_texts(image: bytes | None, texts: Iterable[tuple[str, bytes]], name: str) -> bytes:
    """Return the picture, a plain one if None, with these as its only card chunks; the others stay byte for byte."""
    chunks = png_chunks(plain_png() if image is None else image, name)
    kept = [chunk for chunk in chunks if not _card_keyword(chunk)]
    # Before the pixels, so that a reader finds the card without walking through them.
    at = next(index for index, chunk in enumerate(kept) if chunk.kind in (b"IDAT", b"IEND"))
    cards = [_chunk(b"tEXt", keyword.encode() + b"\0" + text) for keyword, text in texts]
    return b"".join([PNG_SIGNATURE, *(chunk.whole for chunk in kept[:at]), *cards, *(c.whole for c in kept[at:])])


def plain_png() -> bytes:
    """Return a small picture of one colour."""
    header = struct.pack(">IIBBBBB", PLAIN_SIDE, PLAIN_SIDE, 8, 2, 0, 0, 0)  # 8 bits a channel, RGB
    pixels = (b"\0" + PLAIN_COLOUR * PLAIN_SIDE) * PLAIN_SIDE
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(pixels, 9)) + _chunk(b"IEND", b"")
    return PNG_SIGNATURE + chunks


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def charx_card(content: bytes, name: str) -> bytes:
    """Return ``card.json`` of a CHARX; no other member is unpacked, and no name in it becomes a path."""
    # Counted before the library makes an object of each.
    if content.count(b"PK\x01\x02") > MEMBERS_LIMIT:
        raise bomb(f"zip has more than {MEMBERS_LIMIT:,} members", name, "export the card with fewer assets")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return _card_member(archive, name)
    except DAMAGE as error:
        raise damaged("zip is damaged or packed in a way that is not read", name) from error


def _card_member(archive: zipfile.ZipFile, name: str) -> bytes:
    for info in archive.infolist():
        check_path(info.orig_filename, name)
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            hint = "zip the files themselves, no links"
            raise UnsafeError(f"zip member {info.filename!r} is a link or a device", place=name, hint=hint)
        if info.flag_bits & 1:
            raise damaged("zip is encrypted", name, "zip it again without a password")
    cards = [info for info in archive.infolist() if info.filename == CARD_MEMBER]
    if not cards:
        hint = f"a CHARX is a zip with {CARD_MEMBER} at its root"
        raise missing(f"zip has no character data (no {CARD_MEMBER})", name, hint)
    if len(cards) > 1:
        raise damaged(f"{CARD_MEMBER} stands in the zip twice", name)
    place = f"{name}:{CARD_MEMBER}"
    # Other packings may ask for gigabytes of memory before the first byte comes out.
    if cards[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise damaged("packed in a way that is not read", place, "zip it again, stored or deflated")
    with archive.open(cards[0]) as member:
        card = member.read(TEXT_LIMIT + 1)  # what the zip says of its size need not be true
    if max(len(card), cards[0].file_size) > TEXT_LIMIT:
        raise bomb(f"larger than {TEXT_LIMIT // MIB} MiB unpacked", place, "shorten the card's lorebook and texts")
    return card


def check_path(path: str, place: str) -> None:
    """Raise UnsafeError unless a zip member's path stays below the folder it would be unpacked in."""
    steps = re.split(r"[/\\]", path)
    if not steps[0] or ".." in steps or re.match("[A-Za-z]:", path) or "\0" in path:
        hint = "a member's path is relative, without '..'"
        raise UnsafeError(f"zip member {path[:80]!a} would be unpacked outside of its folder", place=place, hint=hint)


def charx(card: bytes, files: Mapping[str, bytes]) -> bytes:
    """Return a zip of ``card.json`` and the files by their paths; the same input gives the same bytes."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
        for path, content in ((CARD_MEMBER, card), *sorted(files.items())):
            member = zipfile.ZipInfo(path)  # without a date it is 1980-01-01
            member.create_system = 3  # Unix on every system
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(member, content)
    return package.getvalue()
