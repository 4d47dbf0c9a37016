"""A character card read like a chat: its examples are dialogues, the rest tells who the persona is."""

import base64
import io
import json
import struct
import zlib

from set_readings import FORMATS, Read

from menura.corpus.chats.cards.example_dialogues import messages
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Notes
from menura.corpus.chats.reading import ChatReading

CARD = {
    "spec": "chara_card_v2",
    "spec_version": "2.0",
    "data": {
        "name": "Tomo",
        "description": "a gardener",
        "personality": "dry",
        "scenario": "greenhouse",
        "first_mes": "Hello.",
        "mes_example": "<START>\n{{user}}: is the fern well?\n{{char}}: It sulks, as ferns do.\n"
        "<START>\n{{user}}: tea?\n{{char}}: *nods* Green.\nAlways green.",
        "alternate_greetings": [],
        "tags": [],
    },
}


def test_a_card_is_its_examples_facts_first_lines_and_persona() -> None:
    read = Read(json.dumps(CARD), "card", "card.json")
    assert read.speakers == {"user": 2, "Tomo": 2}
    assert read.sizes == [2, 2]
    assert read.changed == {"{{char}} and {{user}} by names": 4}
    assert read.facts == {"Tomo": ("a gardener", "dry", "greenhouse")}
    assert (read.notes.first_lines, read.notes.persona) == (["Hello."], "Tomo")
    assert (read.turns[0][1], read.turns[-1][1]) == ("is the fern well?", "*nods* Green.\nAlways green.")
    assert read.warnings == {"few": 1}


def test_a_card_without_examples_tells_whose_it_is_all_the_same() -> None:
    card = {"name": "Tomo", "description": "a gardener", "personality": "", "scenario": "", "first_mes": "Hello."}
    notes = Notes("card.json")
    assert list(messages(ChatFile.of_text("card.json", json.dumps(card | {"mes_example": ""})), notes)) == []
    assert (notes.persona, notes.facts, notes.first_lines) == ("Tomo", {"Tomo": ("a gardener",)}, ["Hello."])
    assert notes.errors == []


def test_a_card_in_a_picture_is_read_like_one_in_text() -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    told = chunk(b"tEXt", b"chara\0" + base64.b64encode(json.dumps(CARD).encode()))
    picture = b"\x89PNG\r\n\x1a\n" + header + told + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
    file = ChatFile("card.png", "card", lambda: io.BytesIO(picture), len(picture))
    reading = ChatReading(file, FORMATS["card"])
    assert [len(dialogue.turns) for dialogue in reading.dialogues()] == [2, 2]
    assert reading.notes.persona == "Tomo"
