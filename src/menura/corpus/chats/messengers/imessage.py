"""The TXT of imessage-exporter becomes messages: a line with the time, one with the name, then the text."""

import re
from collections.abc import Iterator

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes, Stamp
from menura.corpus.chats.messengers.message_lines import Growing, first_lines, heading

OWNER = "Me"
NAME_AT_MOST = 200
STAMPED = re.compile(
    r"(?P<time>[A-Z][a-z]{2} {1,2}\d{1,2}, \d{4} {1,2}\d{1,2}:\d{2}:\d{2} [AP]M)"
    r"(?: \(Read by [^()]{1,60}\))?(?P<rest> .*)?"
).fullmatch
QUOTED = re.compile(r"\s{4,}[A-Z][a-z]{2} {1,2}\d{1,2}, \d{4} ").match
OWN_LINES = frozenset(
    ["This message responded to an earlier message.", "This message was deleted from the conversation!"]
)
# Files lie in the library of the one who exports, or in a folder beside the text.
_file = re.compile(
    r"(?:(?:/|~/|[A-Za-z]:\\)[^\n]{0,400}(?:Library/Messages|Attachments)/|attachments/)[^\n]{1,400}"
).fullmatch
_path = re.compile(r"(?:/|~/|[A-Za-z]:\\)(?:[^\s/\\][^\n/\\]{0,200}[/\\]){0,40}[^\n/\\]{1,200}\.\w{2,5}").fullmatch


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    lines = first_lines(head)[:6]
    if len(lines) < 3 or not STAMPED(lines[0]):
        return ""
    return "" if STAMPED(lines[1]) or ": " in lines[1] else "text of imessage-exporter"


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the messages; replies that are shown again, indented under what they answer, are left out there."""
    notes.labels.add(OWNER)
    now: Growing | None = None
    waits: tuple[Stamp | None, int] | None = None  # a time whose name comes in the next line
    blank = True
    aside = False  # in an indented reply, or in reactions
    for number, line in file.lines():
        found = STAMPED(line) if blank else None
        blank = not line.strip()
        if waits:
            now = Growing(Message(line.strip()[:NAME_AT_MOST], "", waits[1], waits[0]), notes.place(waits[1]))
            waits, aside = None, False
        elif found:
            if now:
                yield _finished(now)
            now, stamp = None, timestamp_parsing.read(found["time"])
            if found["rest"] and found["rest"].strip():
                yield Message("", found["rest"].strip(), number, stamp, "system")
            else:
                waits = stamp, number
        elif now is None:
            if not blank:
                heading(notes, number)
        elif QUOTED(line) or line.rstrip() == "Tapbacks:":
            aside = True
        else:
            aside = aside and (blank or line[0].isspace())
            if not aside and line.strip() not in OWN_LINES:
                _add(now, line)
    if now:
        yield _finished(now)


def _add(now: Growing, line: str) -> None:
    if _file(line.strip()):
        now.without_text = "media"
    else:
        now.add(line)


def _finished(now: Growing) -> Message:
    """Return the message; a path alone is a file that was sent."""
    message = now.whole()
    if not message.dropped and _path(message.text.strip()):
        message.dropped = "media"
    return message
