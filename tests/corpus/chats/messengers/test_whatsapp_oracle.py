"""Exports of WhatsApp written at random are read as whatstk 0.9.1 reads them, before anything is dropped.

whatstk needs pandas; its own package is not run, as it draws in plotting. It is told the format of the stamps, for it
finds that out only where dates happen to tell, and reads only the 96 formats that it documents.
"""

import importlib.util
import random
import sys
import types
import unicodedata
from datetime import datetime, timedelta
from typing import Any

import pytest
from counts import count
from messenger_cases import FORMATS

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Message, Notes

EXPORTS = count(full_count=500, quick_count=40)
PARTS = {"%y": 2, "%m": 1, "%d": 0}
DATES = ("%d{0}%m{0}%y", "%m{0}%d{0}%y", "%y{0}%m{0}%d")
CLOCKS = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
NAMES = (
    "Ines",
    "Tomo",
    "Jörg Müller",
    "小林",
    "إيناس",
    "इनेस",
    "Инес",
    "+49 151 234",
    "Béla 🌿",
    "O'Neil-Smith",
    "Dr. Ada",
)
WORDS = (
    "did you water the fern",
    "zweimal, und er schmollt",
    "お茶はいかが",
    "هل سقيت السرخس",
    "दो बार",
    "да",
    "😊👍🏽",
    "see https://example.org/a:b?c=d",
    "a: b",
    "(31)",
    "\u200eimage omitted",
    "<Media omitted>",
    "This message was deleted",
    "- a list",
    "[x] done",
    "19:00 works",
    "31/12 is fine",
)


def parser_of_whatstk() -> Any:
    """Import whatstk's parser without its package, which draws in plotly and seaborn."""
    pytest.importorskip("pandas")
    found = importlib.util.find_spec("whatstk")
    if found is None or not found.submodule_search_locations:
        pytest.skip("could not import 'whatstk'")
    package = types.ModuleType("whatstk")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["whatstk"] = package
    try:
        return importlib.import_module("whatstk.whatsapp.parser")
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "whatstk"]:
            del sys.modules[name]


def written_at_random(seed: int) -> tuple[str, str]:
    """Return an export and the format of its stamps, as whatstk writes it."""
    chance = random.Random(seed)
    date, clock, bracketed = (
        chance.choice(DATES).format(chance.choice("-/.")),
        chance.choice(CLOCKS),
        chance.random() < 0.5,
    )
    hformat = f"[{date} {clock}] %name:" if bracketed else f"{date}, {clock} - %name:"
    names = chance.sample(NAMES, chance.randint(2, 6))
    four_digits = chance.random() < 0.5 or date.startswith("%y")
    moment = datetime(chance.randint(2011, 2024), 1, 1) + timedelta(minutes=chance.randint(0, 500_000))
    lines = []
    for _ in range(chance.randint(2, 30)):
        moment += timedelta(seconds=chance.choice([1, 40, 600, 7200, 90_000]))
        stamp = hformat.removesuffix("%name:").replace("%y", "%Y" if four_digits else "%y")
        text = "\n".join(chance.choice(WORDS) for _ in range(chance.choice([1, 1, 1, 2, 4])))
        if chance.random() < 0.1:
            text = text.replace("\n", "\n\n")
        lines.append(f"{moment.strftime(stamp)}{chance.choice(names)}: {text}")
    return "\n".join(lines) + "\n", hformat


def alike(text: str) -> str:
    """Return a text as whatstk cleans it."""
    for code in (0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0xAD):
        text = text.replace(chr(code), "")
    return unicodedata.normalize("NFKC", text).strip()


@pytest.mark.parametrize("first", range(0, EXPORTS, 20))
def test_an_export_written_at_random_has_the_messages_and_authors_that_whatstk_finds(first: int) -> None:
    whatstk = parser_of_whatstk()
    for seed in range(first, min(first + 20, EXPORTS)):
        text, hformat = written_at_random(seed)
        frame = whatstk._df_from_str(whatstk._clean_text(text), auto_header=False, hformat=hformat)
        told = [(row.username, row.message, row.date.to_pydatetime()) for row in frame.itertuples()]
        file = ChatFile.of_text("chat.txt", text)
        events = [
            event for event in FORMATS["whatsapp"].messages(file, Notes("chat.txt")) if isinstance(event, Message)
        ]
        read = [(alike(event.speaker), alike(event.text), moment_of(event, hformat)) for event in events]
        assert read == told, (seed, hformat)


def moment_of(message: Message, hformat: str) -> datetime:
    """Return the time of a message, its numbers taken in the order of the format."""
    assert message.time is not None
    codes = [code for code in hformat.replace("[", "").replace("%", " %").split() if code[:2] in PARTS][:3]
    numbers = {code[:2]: number for code, number in zip(codes, message.time.date, strict=True)}
    year = numbers["%y"] + (2000 if numbers["%y"] < 100 else 0)
    return datetime(year, numbers["%m"], numbers["%d"]) + timedelta(seconds=message.time.seconds)
