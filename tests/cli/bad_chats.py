"""Chats that must be refused, and odd ones that must be read: what is given, and what must be said of it."""

import stat
import zipfile
from dataclasses import dataclass

from made_up_files import (
    SAID,
    Give,
    archive,
    bomb,
    both,
    card,
    either_way,
    file,
    half,
    messenger,
    openai,
    png,
    telegram,
    whatsapp,
    with_password,
    zipped,
)

ZIPPED = zipped([("_chat.txt", whatsapp())])
STORED = zipped([("_chat.txt", whatsapp())], packing=zipfile.ZIP_STORED)
THIRTY = tuple(f"Person{number:02}" for number in range(30))
CP1252 = whatsapp(("Inês", "Tomo")).encode("cp1252")
WELSH = whatsapp(said=(*SAID, "<Cyfryngau wedi'u hepgor>", "ie"))
JSON_CUT = (r"not valid JSON \(.*\)", r"hint: the file may be cut off: export it again")


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
    Bad(
        "half of Telegram",
        "result.json",
        "jsonl_syntax",
        (r"result.json:\d+:\d+: ", *JSON_CUT),
        file("result.json", half(telegram())),
    ),
    Bad(
        "half of Messenger",
        "message_1.json",
        "jsonl_syntax",
        (r"message_1.json:\d+:\d+: ", *JSON_CUT),
        file("message_1.json", half(messenger())),
    ),
    Bad(
        "half of an array",
        "train.json",
        "jsonl_syntax",
        (r"train.json:\d+:\d+: ", *JSON_CUT),
        file("train.json", half(openai())),
    ),
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
    Bad(
        "no gap",
        "chat.txt",
        "config",
        ("--gap 'soon': a time wanted", "hint: --gap 6h, or 90min"),
        file("chat.txt", whatsapp()),
        exit=2,
        more="--gap soon",
    ),
    Bad(
        "a gap of nothing",
        "chat.txt",
        "config",
        ("--gap '0h': a time wanted", "hint: --gap 6h"),
        file("chat.txt", whatsapp()),
        exit=2,
        more="--gap 0h",
    ),
    Bad(
        "no order of dates",
        "chat.txt",
        "config",
        ("--dates 'dym': one of dmy, mdy, ymd wanted", "hint: .*--dates dmy"),
        file("chat.txt", whatsapp()),
        exit=2,
        more="--dates dym",
    ),
    Bad(
        "one name",
        "chat.txt",
        "config",
        ("--same 'Ann': two names wanted", 'hint: --same "Ann=ann"'),
        file("chat.txt", whatsapp()),
        exit=2,
        more="--same Ann",
    ),
)

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
        file(
            "tomo.json",
            card(avatar="https://pictures.invalid/a.png", description="dry ![me](https://pictures.invalid/b.png)"),
        ),
        adapt="",
    ),
    Odd("a card of facts alone", "tomo.json", ("a character card",), file("tomo.json", card()), adapt=""),
    Odd(
        "a chat in a zip with pictures",
        "chat.zip",
        ("Tomo 16",),
        archive("chat.zip", [("IMG-1.jpg", b"\xff\xd8\xff"), ("_chat.txt", whatsapp())]),
    ),
)
