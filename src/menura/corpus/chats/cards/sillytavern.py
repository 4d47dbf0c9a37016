"""SillyTavern's chats become messages: a head with the names, then one message a line, as JSON.

Only what was shown last is a turn, so that swipes are none; what extensions keep beside it is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from menura.corpus.chats.cards.text import PLACEHOLDER
from menura.corpus.chats.chat_file import DEPTH_LIMIT, ChatFile
from menura.corpus.chats.epoch_or_text_times import stamp_of
from menura.corpus.chats.json_shape import shape
from menura.corpus.chats.message import Event, Message, Notes
from menura.corpus.schema import Schema
from menura.corpus.strict_json import parsed

REPLACED = "{{char}} and {{user}} by names"
USER, CHARACTER = "user", "character"  # who is not named anywhere
NO_NAMES = frozenset({"", "unused"})  # newer versions write no names into the head
LINES_LOOKED_AT = 1_000  # for the names


@dataclass
class _Names:
    user: str = ""
    character: str = ""


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    found = shape(head)
    if "mes" in found and ("is_user" in found or "is_system" in found):
        return 'JSON objects with "mes" and "is_user"'
    is_head = "chat_metadata" in found and {"user_name", "character_name"} <= found.keys()
    return "the head of a SillyTavern chat" if is_head else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield one message a line below the head."""
    names = _names_in(file)
    notes.persona = names.character
    names.user, names.character = names.user or USER, names.character or CHARACTER
    for number, value in _values(file, notes):
        schema = Schema(notes.place(number))
        if not isinstance(value, dict):
            schema.wrong("line", "must be a JSON object")
        elif "mes" in value or not _is_head(value):
            yield _message(value, number, names, schema, notes)
        for problem in schema.problems:
            notes.add(problem)


def _message(value: dict[str, object], number: int, names: _Names, schema: Schema, notes: Notes) -> Message:
    text = schema.text(value, "mes", blank=True)
    is_user = bool(value.get("is_user"))
    name = value.get("name")
    speaker = schema.words(name, "name", blank=True).strip() if name is not None else ""
    text, count = PLACEHOLDER.subn(lambda match: names.character if match[1] else names.user, text)
    if value.get("is_system"):
        # What the program says about itself, and what people hid from the character.
        return Message("", text, number, dropped="system")
    if count:
        notes.changed[REPLACED] += count
    extra = value.get("extra")
    shows = isinstance(extra, dict) and any(extra.get(key) for key in ("image", "media", "file", "video"))
    dropped = "media" if shows and not text.strip() else ""
    speaker = speaker or (names.user if is_user else names.character)
    return Message(speaker, text, number, stamp_of(value.get("send_date")), dropped)


def _values(file: ChatFile, notes: Notes) -> Iterator[tuple[int, object]]:
    for number, line in file.lines():
        if line.strip():
            value, problems = parsed(line, file.name, number, depth=DEPTH_LIMIT)
            for problem in problems:
                notes.add(problem)
            if not problems:
                yield number, value


def _is_head(value: dict[str, object]) -> bool:
    return any(key in value for key in ("user_name", "character_name", "chat_metadata"))


def _names_in(file: ChatFile) -> _Names:
    """Return the names that the head has, or else the first messages; the first greeting may need them already."""
    names = _Names()
    for number, value in _values(file, Notes(file.name)):
        if not isinstance(value, dict):
            continue
        if _is_head(value) and "mes" not in value:
            names.user = _text(value.get("user_name"))
            names.character = _text(value.get("character_name"))
        elif value.get("is_user"):
            names.user = names.user or _text(value.get("name"))
        elif not value.get("is_system"):
            names.character = names.character or _text(value.get("name"))
        if (names.user and names.character) or number > LINES_LOOKED_AT:
            break
    return names


def _text(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    return "" if text in NO_NAMES else text
