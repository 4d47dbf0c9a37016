"""A chat of any length is read in bounded memory, and large JSON is streamed to the same messages as small."""

import json
import lzma
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from menura.corpus.chats import reading
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import KINDS_LIMIT, Event, Notes
from menura.corpus.chats.messengers import facebook, telegram
from menura.corpus.chats.training_sets import openai_messages, sharegpt
from menura.corpus.check import check
from menura.corpus.source import MIB
from menura.errors import DataError

Messages = Callable[[ChatFile, Notes], Iterator[Event]]
BEGAN = datetime(2020, 1, 1, 9)
SAID = ["tea?", "yes ☕", "", "<br>", "two\nlines", 'a "quote" \\ and 🌿']
NESTED = [{"type": "bold", "text": "so"}, " ", {"type": "link", "text": "there"}]


def _telegram(i: int) -> dict[str, Any]:
    row = {"id": i, "type": "message", "date": f"2023-12-01T10:{i % 60:02}:00", "from": ["Ines", None, "Tomo"][i % 3]}
    return row | {"from_id": f"user{i % 3}", "text": NESTED if i % 5 == 0 else SAID[i % 6], "duration": 1.5 * i}


def _turns(i: int, role: str, text: str, roles: tuple[str, str]) -> list[dict[str, Any]]:
    return [{role: roles[k % 2], text: SAID[(i + k) % 6]} for k in range(4)]


TELEGRAM = {"name": "Tomo", "type": "personal_chat", "id": 7, "messages": [_telegram(i) for i in range(40)]}
DOCUMENTS: list[tuple[str, Messages, Any]] = [
    ("telegram", telegram.messages, TELEGRAM),
    ("telegram account", telegram.messages, {"chats": {"list": [TELEGRAM, TELEGRAM | {"name": "Noa"}]}, "x": [1]}),
    (
        "messenger",
        facebook.messages,
        {
            "participants": [{"name": "Ines"}],
            "messages": [
                {"sender_name": ("Ines", "Tomo")[i % 2], "timestamp_ms": 10**12 - i, "content": SAID[i % 6]}
                for i in range(40)
            ],
            "title": "t",
        },
    ),
    (
        "messages",
        openai_messages.messages,
        [{"messages": _turns(i, "role", "content", ("user", "assistant"))} for i in range(9)],
    ),
    (
        "sharegpt",
        sharegpt.messages,
        [{"conversations": _turns(i, "from", "value", ("human", "gpt"))} for i in range(9)],
    ),
    (
        "sharegpt below a key",
        sharegpt.messages,
        {"train": [{"system": "dry", "conversations": _turns(i, "from", "value", ("Ann", "Bo"))} for i in range(9)]},
    ),
]


@pytest.mark.parametrize(("messages", "value"), [row[1:] for row in DOCUMENTS], ids=[row[0] for row in DOCUMENTS])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_streamed_json_gives_the_same_messages_as_json_that_is_parsed_at_once(
    messages: Messages,
    value: Any,
    indent: int | None,
    encoding: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "chat.json"
    path.write_text(json.dumps(value, indent=indent, ensure_ascii=False), encoding=encoding)

    def read() -> tuple[list[Event], Notes]:
        notes = Notes("chat.json")
        return list(messages(ChatFile.on_disk(path), notes)), notes

    at_once = read()
    monkeypatch.setattr("menura.corpus.chats.chat_file.WHOLE_LIMIT", 10)
    monkeypatch.setattr("menura.corpus.chats.training_sets.json_rows.OBJECT_LIMIT", 10)
    assert len(at_once[0]) > 30
    assert read() == at_once


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"messages": [{"a": 1}, {"a"', "jsonl_syntax"),
        ('{"messages": [' + "[" * 200 + "]" * 200 + "]}", "json_limit"),
        ('{"messages": [{"a": "\xff"}]}', "encoding"),
    ],
)
def test_streamed_json_is_refused_where_json_that_is_parsed_at_once_is(
    text: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chat.json"
    path.write_bytes(text.encode("latin-1"))
    file = ChatFile.on_disk(path)
    for _ in range(2):
        with pytest.raises(DataError) as refused:
            list(file.values("messages.item"))
        assert (refused.value.problems[0].code, bool(refused.value.problems[0].hint)) == (code, True)
        monkeypatch.setattr("menura.corpus.chats.chat_file.WHOLE_LIMIT", 10)


def whatsapp(path: Path, days: int) -> None:
    """Write a chat of WhatsApp with twenty messages a day."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(20 * days):
            day = BEGAN + timedelta(days=number // 20, minutes=number % 20)
            name = ("Ines", "Tomo")[number % 2]
            file.write(f"{day:%d/%m/%Y, %H:%M} - {name}: {number} is what I have counted to today\n")


def result_json(path: Path, days: int) -> None:
    """Write a chat of Telegram with twenty messages a day."""
    rows = [
        {
            "type": "message",
            "date": (BEGAN + timedelta(days=number // 20, minutes=number % 20)).isoformat(),
            "from": ("Ines", "Tomo")[number % 2],
            "text": f"{number} is what I have counted to today",
        }
        for number in range(20 * days)
    ]
    path.write_text(json.dumps({"type": "personal_chat", "name": "Tomo", "messages": rows}), encoding="utf-8")


@pytest.mark.parametrize("write", [whatsapp, result_json])
def test_memory_does_not_grow_with_a_chat(
    write: Callable[[Path, int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("menura.corpus.chats.chat_file.WHOLE_LIMIT", 1000)
    monkeypatch.setattr(reading, "SURVEYED", 500)
    path, peaks = tmp_path / "chat.txt", []
    for days in (50, 100, 400):  # the first one fills caches
        write(path, days)
        tracemalloc.start()
        (report,) = check(path)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert report.statistics.dialogues == days
        assert report.statistics.turns == 20 * days
    assert peaks[2] < peaks[1] + 500_000, peaks


def test_kinds_of_problems_are_bounded() -> None:
    notes = Notes("chat.txt")
    for number in range(3 * KINDS_LIMIT):
        notes.warn("odd", f"{'x' * number} is odd", number)
    assert len(notes.problems) == KINDS_LIMIT + 1
    assert sum(problem.count for problem in notes.problems) == 3 * KINDS_LIMIT
    assert notes.problems[-1].message.startswith("further ones of this kind, such as: ")


def test_a_fault_at_another_place_in_an_array_is_of_the_same_kind() -> None:
    notes = Notes("chat.txt")
    for number in range(5):
        notes.wrong("schema", f"turns[{number}].text: required, is missing", number)
    (problem,) = notes.problems
    assert (problem.message, problem.place, problem.count) == (
        "turns[0].text: required, is missing",
        "chat.txt",
        5,
    )


def lines_of(path: Path) -> list[str]:
    return [line for _, line in ChatFile.on_disk(path).lines()]


def test_an_xz_file_is_read_whole_in_any_number_of_streams(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt.xz"
    said = [f"Ann: {number} {'🌿' * (number % 90)}" for number in range(20_000)]
    text = "\n".join(said).encode()
    path.write_bytes(lzma.compress(text[:100_000]) + bytes(8) + lzma.compress(text[100_000:]) + bytes(4))
    assert lines_of(path) == said
    path.write_bytes(lzma.compress(text)[:-50])
    with pytest.raises(DataError, match="damaged packed file .it ends too early"):
        lines_of(path)


def test_an_xz_file_that_asks_for_much_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chat.txt.xz"
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 192 * MIB, "mf": lzma.MF_HC3, "mode": lzma.MODE_FAST}]
    path.write_bytes(lzma.compress(b"Ann: hi\nBo: so\n", filters=filters))
    with pytest.raises(DataError, match="damaged packed file .Memory usage limit exceeded"):
        lines_of(path)
