"""The table of all formats that dialogues come in, and finding the one a file is in."""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from menura.corpus import (
    avsd,
    chitchat,
    cped,
    dailydialog,
    jsonl,
    mojitalk,
    personachat,
    personachat_jsonl,
    personaldialog,
    real_persona_chat,
)
from menura.corpus.chats.chat_file import FILE_LIMIT, LINE_LIMIT, ChatFile
from menura.corpus.chats.formats import CHAT_FORMATS, near_miss
from menura.corpus.chats.reading import ChatReader, found_in
from menura.corpus.chats.training_sets import openai_messages
from menura.corpus.chats.transcripts import text_lines
from menura.corpus.dialogue import Dialogue, Reader
from menura.corpus.findings import Found
from menura.corpus.source import DATA_SET, UPLOAD, Limits, Source, bare_name, opened, refuse_binary
from menura.errors import ConfigError, DataError, shown


def alone(path: Path) -> tuple[Path, ...]:
    """Return the one file that dialogues are read from."""
    return (path,)


SHAPE_HEAD = 8192  # characters that the shapes of data sets are looked for in
Shapes = tuple[tuple[re.Pattern[str], str | Callable[[str], str]], ...]


@dataclass(frozen=True)
class Format:
    """One way to write dialogues down; ``render`` is None where Menura does not write it.

    ``shapes`` are patterns of the first few KiB of a file, each with the reason why it is of this format then, or a
    function that looks closer and returns the reason, empty if it is not.
    ``files`` are all that are read for a named one, the one that gives the dialogues its name first; ``endings`` are
    names that tell the format by themselves. ``chat`` is how messages are read where the format is that of a chat; then
    ``read`` is not used.
    """

    name: str
    read: Reader
    scan: Callable[[Source], Iterator[Found]]
    shapes: Shapes
    render: Callable[[Dialogue], str] | None = None
    limits: Limits = UPLOAD
    opened: Callable[[Path, Limits], Source] = opened
    files: Callable[[Path], tuple[Path, ...]] = alone
    endings: tuple[str, ...] = ()
    chat: ChatReader | None = None
    about: str = ""  # what people call a data set

    @property
    def title(self) -> str:
        """What people call it."""
        return self.chat.title if self.chat else self.about


@dataclass(frozen=True)
class Detected:
    """The format a file is in, and why we think so."""

    format: Format
    reason: str


CHAT = Limits(FILE_LIMIT, sys.maxsize, LINE_LIMIT)
RENDERED = {"transcript": text_lines.render, "messages": openai_messages.render}
CARD_STARTS = {b"\x89PNG": "a PNG image", b"PK\x03\x04": "a zip archive with card.json"}


def _of_chat(chat: ChatReader) -> Format:
    return Format(
        chat.name,
        lambda path: iter(()),
        lambda source: found_in(ChatFile.of_text(source.name, source.text), chat),
        (),
        RENDERED.get(chat.name),
        limits=CHAT,
        chat=chat,
    )


# In the order of detection: a line of Persona-Chat would pass for one of a transcript.
FORMATS = {
    entry.name: entry
    for entry in (
        Format(
            "chitchat",
            chitchat.read,
            chitchat.scan,
            chitchat.SHAPES,
            limits=DATA_SET,
            about="BYU's chitchat data set",
        ),
        Format("avsd", avsd.read, avsd.scan, avsd.SHAPES, limits=DATA_SET, about="AVSD, questions about videos"),
        Format(
            "real_persona_chat",
            real_persona_chat.read,
            real_persona_chat.scan,
            real_persona_chat.SHAPES,
            limits=DATA_SET,
            opened=real_persona_chat.opened_pair,
            files=real_persona_chat.files,
            about="RealPersonaChat",
        ),
        Format(
            "personaldialog",
            personaldialog.read,
            personaldialog.scan,
            personaldialog.SHAPES,
            limits=DATA_SET,
            about="PersonalDialog",
        ),
        Format("cped", cped.read, cped.scan, cped.SHAPES, limits=DATA_SET, about="CPED, dialogues of Chinese series"),
        Format("jsonl", jsonl.read, jsonl.scan, jsonl.SHAPES, jsonl.render, about="Menura's JSON lines"),
        Format(
            "personachat_jsonl",
            personachat_jsonl.read,
            personachat_jsonl.scan,
            personachat_jsonl.SHAPES,
            about="Persona-Chat as JSON lines",
        ),
        Format(
            "dailydialog",
            dailydialog.read,
            dailydialog.scan,
            dailydialog.SHAPES,
            limits=DATA_SET,
            opened=dailydialog.opened_pair,
            files=dailydialog.files,
            about="DailyDialog",
        ),
        Format(
            "personachat",
            personachat.read,
            personachat.scan,
            personachat.SHAPES,
            personachat.render,
            limits=DATA_SET,
            about="Persona-Chat, numbered lines",
        ),
        Format(
            "mojitalk",
            mojitalk.read,
            mojitalk.scan,
            mojitalk.SHAPES,
            limits=DATA_SET,
            opened=mojitalk.opened_pair,
            files=mojitalk.files,
            endings=(mojitalk.QUERIES, mojitalk.REPLIES),
            about="MojiTalk, a file of queries and one of replies",
        ),
        *(_of_chat(chat) for chat in CHAT_FORMATS),
    )
}


def named(name: str) -> Format:
    """Return the format of this name; ConfigError with the nearest name if there is none."""
    if name in FORMATS:
        return FORMATS[name]
    near = get_close_matches(name, FORMATS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"formats: {', '.join(FORMATS)}"
    raise ConfigError(f"unknown format {shown(name)}", code="unknown_format", hint=hint)


def detected(file: Path | ChatFile) -> Detected:
    """Return the format of a file by its name or its start.

    Raises DataError that names what the file nearly is where no format fits, and where it is empty.
    """
    file = file if isinstance(file, ChatFile) else ChatFile.on_disk(file)
    start = file.start()
    for mark, reason in CARD_STARTS.items():
        if start.startswith(mark):
            return Detected(FORMATS["card"], reason)
    refuse_binary(start, file.name)
    head = file.head()
    if not head.strip():
        raise DataError("no dialogues found", code="empty", place=file.name)
    ending = Path(bare_name(Path(file.name))).suffix
    for entry in FORMATS.values():
        if ending in entry.endings:
            return Detected(entry, f"the name ends in {ending}")
    for entry in FORMATS.values():
        reason = entry.chat.looks_like(head, file.name) if entry.chat else _reason(entry, head[:SHAPE_HEAD])
        if reason:
            return Detected(entry, reason)
    message, hint = near_miss(head, file.name)
    raise DataError(message, code="unknown_format", place=file.name, hint=hint)


def _reason(entry: Format, head: str) -> str:
    """Return why the start of a file is of a format, empty if it is not."""
    for shape, reason in entry.shapes:
        if shape.match(head) and (told := reason if isinstance(reason, str) else reason(head)):
            return told
    return ""


def detect(path: Path) -> str:
    """Return the name of the format a file is in."""
    return detected(path).format.name
