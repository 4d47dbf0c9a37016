"""WhatsApp's exports become messages, those of Android (``12/1/23, 7:00 PM - Name: text``) and of iOS (in brackets).

Lines with a stamp and without a name are the system's. A line without a stamp goes on with the message before.
"""

from collections.abc import Iterator

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Notes
from menura.corpus.chats.messengers import stamped_lines
from menura.corpus.chats.messengers.message_lines import first_lines
from menura.corpus.chats.messengers.stamped_lines import BRACKETED, CLOCK_FIRST, DASHED, LinePattern, stamped

LINE_PATTERNS: tuple[LinePattern, ...] = (DASHED, BRACKETED, CLOCK_FIRST)
NAMED_SHARE = 0.05  # of the lines with a stamp; a large group may begin with dozens of lines about who joins
TITLES: dict[LinePattern, str] = {
    DASHED: "lines with date, time, dash and name (WhatsApp on Android)",
    BRACKETED: "lines with date and time in brackets, and name (WhatsApp on iOS)",
    CLOCK_FIRST: "lines with time and date in brackets, and name (copied from WhatsApp)",
}


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    if not stamped_lines.stamped_start(head, LINE_PATTERNS, NAMED_SHARE):
        return ""
    first = next((found for line in first_lines(head) if (found := stamped(line, LINE_PATTERNS))), None)
    if first is None or (first.pattern is BRACKETED and not _has_seconds(head)):
        return ""
    return TITLES[first.pattern]


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield one message a stamped line and the lines that go on with it."""
    return stamped_lines.read(file, notes, LINE_PATTERNS)


def nearly(head: str, name: str) -> tuple[str, str] | None:
    """Return what a file that is nearly an export of WhatsApp lacks, and what to type about it; None for others."""
    lines = first_lines(head)
    found = [one for line in lines if (one := stamped(line, LINE_PATTERNS))]
    if len(found) < 2 or len(found) * 2 < len(lines):
        return None
    return (
        "looks like a WhatsApp export but for the names",
        'export the chat again, or write each line as "Name: text"',
    )


def _has_seconds(head: str) -> bool:
    """Tell whether times in brackets have seconds or a comma before them, as those of iOS do."""
    for line in first_lines(head):
        if stamped(line, (BRACKETED,)):
            found = BRACKETED(line)
            return found is not None and (found["second"] is not None or "," in found["between"])
    return False
