"""Chats that must be refused, and odd ones that must be read: files made in code, and what must be said of each."""

import json
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

Give = Callable[[], None]
PAIR = ("Ines", "Tomo")
SAID = ("did you water the fern", "yes, twice", "and the basil?", "it sulks")
MIB = 1024 * 1024


@dataclass(frozen=True)
class Bad:
    """A chat that is refused by ``data check`` and by ``adapt``; ``says`` are patterns in the line of the error.

    ``more`` are words of the command line besides the file.
    """

    case: str
    path: str
    code: str
    says: tuple[str, ...]
    give: Give
    exit: int = 3
    more: str = ""


@dataclass(frozen=True)
class Odd:
    """A chat that is read, and a persona made of it; ``says`` are patterns in what ``data check`` and ``adapt`` say."""

    case: str
    path: str
    says: tuple[str, ...]
    give: Give
    more: str = ""
    adapt: str = "--speaker Tomo -k 2"


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


ZIPPED = zipped([("_chat.txt", whatsapp())])
STORED = zipped([("_chat.txt", whatsapp())], packing=zipfile.ZIP_STORED)
THIRTY = tuple(f"Person{number:02}" for number in range(30))
CP1252 = whatsapp(("Inês", "Tomo")).encode("cp1252")
WELSH = whatsapp(said=(*SAID, "<Cyfryngau wedi'u hepgor>", "ie"))
JSON_CUT = (r"not valid JSON \(.*\)", r"hint: the file may be cut off: export it again")

BAD = (
    Bad(
        "a chat of one person",
        "chat.txt",
        "one_speaker",
        ("chat.txt: only 'Ines' speaks: .*two people are needed", "hint: export the chat with the other side"),
        file("chat.txt", whatsapp(("Ines",))),
    ),
    Bad(
        "nothing left",
        "chat.txt",
        "empty",
        ("chat.txt: nothing is left to learn from: left out .* media", "hint: export the chat with its texts"),
        file("chat.txt", whatsapp(said=("<Media omitted>",) * 4)),
    ),
    Bad(
        "dates that contradict each other",
        "chat.txt",
        "dates",
        ("chat.txt: line 1 has the day first, line 13 the month", "hint: .*--dates dmy, mdy or ymd"),
        file("chat.txt", either_way()),
    ),
    Bad("half of Telegram", "result.json", "jsonl_syntax", (r"result.json:\d+:\d+: ", *JSON_CUT),
        file("result.json", half(telegram()))),
    Bad("half of Messenger", "message_1.json", "jsonl_syntax", (r"message_1.json:\d+:\d+: ", *JSON_CUT),
        file("message_1.json", half(messenger()))),
    Bad("half of an array", "train.json", "jsonl_syntax", (r"train.json:\d+:\d+: ", *JSON_CUT),
        file("train.json", half(openai()))),
    Bad(
        "a path out of the zip",
        "chat.zip",
        "unsafe_zip",
        (r"chat.zip: '\.\./chat.txt' leads out of the archive", "hint: export the chat again"),
        archive("chat.zip", [("../chat.txt", whatsapp())]),
        exit=4,
    ),
    Bad(
        "an absolute path in the zip",
        "chat.zip",
        "unsafe_zip",
        ("chat.zip: '/etc/chat.txt' leads out of the archive", "hint: export the chat again"),
        archive("chat.zip", [("/etc/chat.txt", whatsapp())]),
        exit=4,
    ),
    Bad(
        "a link in the zip",
        "chat.zip",
        "unsafe_zip",
        ("chat.zip: '_chat.txt' is a link", "hint: export the chat again"),
        archive("chat.zip", [("_chat.txt", "/etc/passwd")], stat.S_IFLNK | 0o777),
        exit=4,
    ),
    Bad(
        "a zip bomb",
        "chat.zip",
        "zip_bomb",
        ("chat.zip: '_chat.txt' unpacks to more than a thousand times its size", "hint: "),
        file("chat.zip", bomb()),
        exit=4,
    ),
    Bad(
        "a zip with a password",
        "chat.zip",
        "encrypted",
        ("chat.zip: protected by a password", "hint: unpack it with the password"),
        file("chat.zip", with_password(ZIPPED)),
    ),
    Bad(
        "half of a zip",
        "chat.zip",
        "damaged",
        (r"chat.zip: damaged zip archive", "hint: export or copy it again"),
        file("chat.zip", ZIPPED[:-40]),
    ),
    Bad(
        "a zip with damaged bytes",
        "chat.zip",
        "damaged",
        ("chat.zip:_chat.txt: damaged", "hint: "),
        file("chat.zip", ZIPPED[:60] + b"\xff\xff\xff\xff" + ZIPPED[64:]),
    ),
    Bad(
        "a zip with a wrong checksum",
        "chat.zip",
        "damaged",
        (r"chat.zip:_chat.txt: damaged packed file \(Bad CRC-32", "hint: "),
        file("chat.zip", STORED.replace(b"fern", b"worm", 1)),
    ),
    Bad(
        "a zip whose list lies",
        "chat.zip",
        "damaged",
        (r"chat.zip:_chat.txt: damaged packed file \(File name in directory", "hint: "),
        file("chat.zip", ZIPPED.replace(b"_chat.txt", b"_xxxx.txt", 1)),
    ),
    Bad(
        "a zip packed with lzma",
        "chat.zip",
        "damaged",
        ("chat.zip: '_chat.txt' is packed in a way that is not read", "hint: unpack it and give the files in it"),
        file("chat.zip", zipped([("_chat.txt", whatsapp())], packing=zipfile.ZIP_LZMA)),
    ),
    Bad(
        "a zip of pictures",
        "chat.zip",
        "empty",
        ("chat.zip: only .jpg files in it, none of which may be a chat", "hint: export the chat with its text"),
        archive("chat.zip", [("IMG-1.jpg", b"\xff\xd8\xff"), ("IMG-2.jpg", b"\xff\xd8\xff")]),
    ),
    Bad(
        "a zip in a zip",
        "chat.zip",
        "empty",
        ("chat.zip: only .zip files in it", "hint: .*unpack"),
        archive("chat.zip", [("chat.zip", zipped([("_chat.txt", whatsapp())]))]),
    ),
    Bad("a zip of nothing", "chat.zip", "empty", ("chat.zip: no files in it", "hint: "), archive("chat.zip", [])),
    Bad(
        "a picture",
        "tomo.png",
        "card_missing",
        ("tomo.png: PNG has no character data", "hint: export the card again"),
        file("tomo.png", png()),
    ),
    Bad(
        "a folder without chats",
        "chats",
        "empty",
        ("chats: no file in it may be a chat", "hint: give the export itself"),
        file("chats/a.jpg", b"\xff\xd8\xff"),
    ),
    Bad(
        "a folder of other texts",
        "chats",
        "unknown_format",
        ("chats/.*: none of 2 files is a chat", "hint: "),
        both(file("chats/a.txt", "la la la\n"), file("chats/b.txt", "lo lo lo\n")),
    ),
    Bad(
        "an encoding unsaid",
        "chat.txt",
        "encoding",
        (r"chat.txt: byte 21: not UTF-8 text .looks like Windows-1252", "hint: .*--encoding cp1252"),
        file("chat.txt", CP1252),
    ),
    Bad(
        "an encoding said wrongly",
        "chat.txt",
        "encoding",
        (r"chat.txt: byte \d+: not utf-16 text", "hint: .*--encoding cp1252"),
        file("chat.txt", CP1252),
        more="--encoding utf-16",
    ),
    Bad(
        "an encoding of bytes",
        "chat.txt",
        "config",
        ("--encoding 'base64' is not known", "hint: --encoding cp1252"),
        file("chat.txt", CP1252),
        exit=2,
        more="--encoding base64",
    ),
    Bad(
        "an encoding that only refuses",
        "chat.txt",
        "config",
        ("--encoding 'undefined' is not known", "hint: --encoding cp1252"),
        file("chat.txt", CP1252),
        exit=2,
        more="--encoding undefined",
    ),
    Bad(
        "an encoding that is none",
        "chat.txt",
        "config",
        ("--encoding 'klingon' is not known", "hint: --encoding cp1252"),
        file("chat.txt", CP1252),
        exit=2,
        more="--encoding klingon",
    ),
    Bad("no gap", "chat.txt", "config", ("--gap 'soon': a time wanted", "hint: --gap 6h, or 90min"),
        file("chat.txt", whatsapp()), exit=2, more="--gap soon"),
    Bad("a gap of nothing", "chat.txt", "config", ("--gap '0h': a time wanted", "hint: --gap 6h"),
        file("chat.txt", whatsapp()), exit=2, more="--gap 0h"),
    Bad("no order of dates", "chat.txt", "config", ("--dates 'dym': one of dmy, mdy, ymd wanted", "hint: .*--dates dmy"),
        file("chat.txt", whatsapp()), exit=2, more="--dates dym"),
    Bad("one name", "chat.txt", "config", ("--same 'Ann': two names wanted", 'hint: --same "Ann=ann"'),
        file("chat.txt", whatsapp()), exit=2, more="--same Ann"),
)  # fmt: skip

ODD = (
    Odd(
        "an unknown language",
        "chat.txt",
        ("left out: 8 media",),
        file("chat.txt", WELSH),
        adapt="--speaker Tomo -k 2",
    ),
    Odd(
        "contradicting dates, told which",
        "chat.txt",
        ("dates month-first .as you say", r"warn.times.: chat.txt:1: no time that can be read.*12 places"),
        file("chat.txt", either_way()),
        more="--dates mdy",
        adapt="--speaker Tomo -k 1",
    ),
    Odd("cp1252, told so", "chat.txt", ("Inês",), file("chat.txt", CP1252), more="--encoding cp1252"),
    Odd(
        "a card with pictures elsewhere",
        "tomo.json",
        ("warn.remote_links.: tomo.json: links to pictures or assets elsewhere, kept as text and never fetched: 2",),
        file("tomo.json", card(avatar="https://pictures.invalid/a.png",
                               description="dry ![me](https://pictures.invalid/b.png)")),
        adapt="",
    ),
    Odd("a card of facts alone", "tomo.json", ("a character card",), file("tomo.json", card()), adapt=""),
    Odd("a chat in a zip with pictures", "chat.zip", ("Tomo 16",),
        archive("chat.zip", [("IMG-1.jpg", b"\xff\xd8\xff"), ("_chat.txt", whatsapp())])),
)  # fmt: skip
