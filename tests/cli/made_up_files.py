"""Chats, cards and archives made in code, good and bad ones."""

import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

Give = Callable[[], None]
PAIR = ("Ines", "Tomo")
SAID = ("did you water the fern", "yes, twice", "and the basil?", "it sulks")
MIB = 1024 * 1024


def file(name: str, content: str | bytes) -> Give:
    """Return the act of writing a file."""

    def give() -> None:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return give


def archive(name: str, members: Sequence[tuple[str, str | bytes]], mode: int = 0) -> Give:
    """Return the act of writing a zip."""

    def give() -> None:
        Path(name).write_bytes(zipped(members, mode))

    return give


def zipped(members: Sequence[tuple[str, str | bytes]], mode: int = 0, packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip with members by name, all of one mode and packed in one way."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as into:
        for name, text in members:
            about = zipfile.ZipInfo(name)
            about.compress_type = packing
            about.external_attr = mode << 16
            into.writestr(about, text)
    return content.getvalue()


def with_password(content: bytes) -> bytes:
    """Set the flag of encryption of the one member of a zip, in both of its headers."""
    marked = bytearray(content)
    marked[6] |= 1
    marked[content.rindex(b"PK\x01\x02") + 8] |= 1
    return bytes(marked)


def whatsapp(
    people: Sequence[str] = PAIR,
    days: int = 8,
    date: str = "12/{}/23",
    first_day: int = 1,
    said: Sequence[str] = SAID,
) -> str:
    """Return an export of WhatsApp with a dialogue a day, of two exchanges each where two people talk."""
    lines = []
    for day in range(first_day, first_day + days):
        for minute, text in enumerate(tuple(said) * (len(people) // len(said) + 1)):
            stamp = f"{date.format(day)}, 7:{minute:02} PM"
            told = text if text.startswith("<") else f"{text} {day}"
            lines.append(f"{stamp} - {people[minute % len(people)]}: {told}")
    return "\n".join(lines) + "\n"


def telegram() -> str:
    """Return an export of Telegram of one chat."""
    rows = [
        {"id": i, "type": "message", "date": f"2023-12-01T10:{i:02}:00", "from": PAIR[i % 2], "text": SAID[i % 4]}
        for i in range(12)
    ]
    return json.dumps({"name": "Tomo", "type": "personal_chat", "id": 1, "messages": rows}, indent=1)


def messenger() -> str:
    """Return an export of Messenger."""
    rows = [{"sender_name": PAIR[i % 2], "timestamp_ms": 1701424800000 + i, "content": SAID[i % 4]} for i in range(12)]
    return json.dumps({"participants": [{"name": name} for name in PAIR], "messages": rows}, indent=1)


def openai() -> str:
    """Return a training set of messages as one array."""
    turn = [{"role": role, "content": "hi"} for role in ("user", "assistant")]
    return json.dumps([{"messages": turn * 2} for _ in range(8)], indent=1)


def half(text: str) -> str:
    """Cut a text in the middle."""
    return text[: len(text) // 2]


def card(**said: object) -> str:
    """Return a character card as JSON of version 2."""
    data = {"name": "Tomo", "description": "a gardener", "personality": "dry", "scenario": "", "first_mes": "Hello."}
    return json.dumps({"spec": "chara_card_v2", "spec_version": "2.0", "data": data | {"mes_example": ""} | said})


def png() -> bytes:
    """Return a picture of one pixel."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(b"\0\0\0\0")),
            (b"IEND", b""),
        )
    )


def bomb() -> bytes:
    """Return a zip of a few KiB with a text that unpacks to 20 MiB."""
    return zipped([("_chat.txt", b"a" * (20 * MIB))])


def both(*acts: Give) -> Give:
    """Return several acts as one."""

    def give() -> None:
        for act in acts:
            act()

    return give


def either_way() -> str:
    """Return a chat whose first dates have the day first, its last ones the month."""
    return whatsapp(days=3, date="{}/12/23", first_day=13) + whatsapp(days=3, date="12/{}/23", first_day=20)
