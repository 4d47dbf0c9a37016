"""Lines of a text file become messages: some lines begin a message, the others go on with it."""

import re
from collections.abc import Callable, Iterator
from enum import Enum

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.cleaning.normalise import INVISIBLE
from menura.corpus.chats.message import Event, Message, Notes
from menura.errors import DataError

MESSAGE_LIMIT = 1024 * 1024  # characters
LINES_JUDGED = 200  # of the start of a file, when detecting its format
# What exports put around stamps and names for the direction of writing.
UNSEEN = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")


class Line(Enum):
    """What a line is that begins no message."""

    GOES_ON = "goes on with the message before"
    NO_TEXT = "belongs to no message"


ParsedLine = Callable[[int, str], Message | Line]


class Growing:
    """A message whose lines come one by one, within a limit.

    ``without_text`` is why it is dropped if it has no text in the end.
    """

    def __init__(self, message: Message, place: str) -> None:
        self._message, self._place = message, place
        self.without_text = ""
        self._lines = [message.text]
        self._size = len(message.text)

    def add(self, line: str) -> None:
        """Add a line; DataError where the message becomes longer than any that people write."""
        self._size += len(line) + 1
        if self._size > MESSAGE_LIMIT:
            hint = "lines without a date go on with the message before: export the chat again, or split the file"
            raise DataError("one message is longer than 1 MiB", code="too_large", place=self._place, hint=hint)
        self._lines.append(line)

    def last_is(self, kind: Callable[[str], object]) -> bool:
        """Tell whether the last line is of a kind."""
        return bool(kind(self._lines[-1]))

    def take_back(self) -> None:
        """Take the last line back."""
        self._lines.pop()

    def whole(self) -> Message:
        """Return the message with all its lines."""
        self._message.text = "\n".join(self._lines)
        if not self._message.dropped and not self._message.text.strip():
            self._message.dropped = self.without_text
        return self._message


def gathered(file: ChatFile, notes: Notes, parsed_line: ParsedLine) -> Iterator[Event]:
    """Yield the messages of a file; ``parsed_line`` returns the message that a line begins, or what else the line is.

    Lines before the first message are a heading, which is left out and noted.
    """
    now: Growing | None = None
    for number, line in file.lines():
        found = parsed_line(number, line)
        if isinstance(found, Message):
            if now:
                yield now.whole()
            now = Growing(found, notes.place(number))
        elif found is Line.NO_TEXT:
            continue
        elif now:
            now.add(line)
        elif line.strip():
            heading(notes, number)
    if now:
        yield now.whole()


def heading(notes: Notes, number: int) -> None:
    """Note that a line stands before the first message and is left out."""
    notes.dropped["heading"] += 1
    notes.warn("heading", "lines before the first message; left out", number)


def without_unseen(
    line: str, matched: Callable[[str], re.Match[str] | None], limit: int
) -> "tuple[re.Match[str], int, int] | None":
    """Match the start of a line as if it had no unseen characters.

    Returns the match, where in the line as written the text behind it begins, and how many unseen characters stand
    before that; None where it does not match.
    """
    if line.isascii() or UNSEEN.search(line, 0, limit) is None:
        found = matched(line)
        return None if found is None else (found, found.end(), 0)
    found = matched(UNSEEN.sub("", line[:limit]))
    if found is None:
        return None
    unseen = 0
    for mark in UNSEEN.finditer(line, 0, limit):
        if mark.start() - unseen >= found.end():
            break
        unseen += 1
    return found, found.end() + unseen, unseen


def count_unseen(notes: Notes, count: int) -> None:
    """Count unseen characters that were left out around a stamp."""
    if count:
        notes.changed[INVISIBLE] += count


def first_lines(head: str) -> list[str]:
    """Return the first lines of a file that are not blank, without unseen characters in front."""
    lines = head[: 64 * 1024].splitlines()
    return [UNSEEN.sub("", line[:400]) for line in lines if line.strip()][:LINES_JUDGED]
