"""Lines with date, time and name become messages: ``2023-12-31 10:11 Ines: text``, with or without brackets or marks.

The date may have East Asian words or the name of a month, the name angle brackets. WhatsApp's lines are of the kind.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.cleaning.placeholders import is_system
from menura.corpus.chats.message import Event, Message, Notes, Stamp
from menura.corpus.chats.messengers.message_lines import (
    UNSEEN,
    Line,
    count_unseen,
    first_lines,
    gathered,
    without_unseen,
)
from menura.corpus.chats.timestamp_parsing import (
    DATE_AND_TIME,
    DAY_AND_MONTH,
    MARKED_CLOCK,
    MONTH_AND_DAY,
    NUMBERS,
    TIME_AND_DATE,
)

NAME_AT_MOST = 80  # characters; what is longer before a colon is a line of the system
SURE_TIMES = 2  # that a name is met in the start of a file and behind it before it is surely one
SURE_TIMES_QUOTED = 10  # the same of a name with half a quotation, as a group may get the same subject again
NAMES_LIMIT = 20_000  # that are remembered
FIRST_LINES = 5  # among which a stamp must stand
COMMON_SHARE = 5  # a pattern of stamps is the file's where it is a fifth as common as the commonest
OPENING, CLOSING = "“„«「『《‹", "”»」』》›"

LinePattern = Callable[[str], re.Match[str] | None]  # the match of a stamp at the start of a line

# Patterns of a stamp before a name, each with the groups of ``timestamp_parsing``.
_PARTED = r"[\]):,]?[ \t]+(?:[-–—|][ \t]+)?"
BRACKETED = re.compile(rf"\s?\[{DATE_AND_TIME}\]\s?").match
CLOCK_FIRST = re.compile(rf"\s?\[{TIME_AND_DATE}\]\s?").match
DASHED = re.compile(rf"\s?{DATE_AND_TIME}\s[-–—](?:\s|$)").match
PLAIN = re.compile(rf"\s?\(?{NUMBERS}{timestamp_parsing.BETWEEN}{MARKED_CLOCK}{_PARTED}").match
DAY_WORDS = re.compile(rf"\s?[\[(]?{DAY_AND_MONTH}{timestamp_parsing.BETWEEN}{MARKED_CLOCK}{_PARTED}").match
MONTH_WORDS = re.compile(rf"\s?[\[(]?{MONTH_AND_DAY}{timestamp_parsing.BETWEEN}{MARKED_CLOCK}{_PARTED}").match
LINE_PATTERNS: tuple[LinePattern, ...] = (BRACKETED, CLOCK_FIRST, DASHED, PLAIN, DAY_WORDS, MONTH_WORDS)
NICK = re.compile(r"<([^<>\n]{1,80})>\s?").match
_name_end = re.compile(r":(?=[\s\u200e\u200f\u202a-\u202e]|$)").search


class Stamped(NamedTuple):
    """A line with a stamp: what follows it, how many unseen characters stood in and before it, how it is written."""

    stamp: Stamp
    rest: str
    unseen: int
    pattern: LinePattern


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    return "lines with date, time and name" if stamped_start(head, LINE_PATTERNS) else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield one message a stamped line and the lines that go on with it."""
    return read(file, notes, LINE_PATTERNS)


def read(file: ChatFile, notes: Notes, patterns: Sequence[LinePattern]) -> Iterator[Event]:
    """Yield the messages of a file whose lines begin with some of these patterns."""
    head = file.head()
    names = Names(head, patterns)
    used = _used(head, patterns)

    def parsed_line(number: int, line: str) -> Message | Line:
        found = stamped(line, patterns)
        if found is None:
            return Line.GOES_ON
        if found.pattern not in used:
            notes.warn("continued", "a pasted message with its own date; it goes on with the message before", number)
            return Line.GOES_ON
        count_unseen(notes, found.unseen)
        speaker, text = names.split(found.rest)
        return Message(speaker, text, number, found.stamp)

    return gathered(file, notes, parsed_line)


def stamped(line: str, patterns: Sequence[LinePattern]) -> Stamped | None:
    """Return the parts of a line that begins with a stamp, None for any other line."""
    for pattern in patterns:
        found = without_unseen(line, pattern, timestamp_parsing.LONGEST)
        if found is None:
            continue
        stamp = timestamp_parsing.stamp_of(found[0])
        if stamp is not None:
            return Stamped(stamp, line[found[1] :], found[2], pattern)
    return None


def stamped_start(head: str, patterns: Sequence[LinePattern], share: float = 0.5) -> bool:
    """Tell whether a stamp stands near the start, and whether a name follows this share of the stamps at least."""
    found = [stamped(line, patterns) for line in first_lines(head)]
    first = next((index for index, one in enumerate(found) if one), FIRST_LINES)
    if first >= FIRST_LINES:
        return False
    named = [candidate(one.rest) != "" for one in found if one]
    return any(named) and sum(named) >= share * len(named)


def _used(head: str, patterns: Sequence[LinePattern]) -> set[LinePattern]:
    """Return the patterns that a file uses: a message may hold a pasted one with a stamp of another kind."""
    counts = Counter(found.pattern for line in first_lines(head) if (found := stamped(line, patterns)))
    most = max(counts.values(), default=0)
    return {pattern for pattern in patterns if counts[pattern] * COMMON_SHARE >= most}


class Names:
    """The names in a file, by which a person's message is told from a line of the system that has a colon in it."""

    def __init__(self, head: str, patterns: Sequence[LinePattern]) -> None:
        found = (stamped(line, patterns) for line in head.splitlines())
        self._met = Counter(candidate(one.rest) for one in found if one)
        self._sure: dict[str, str] = {}  # what stands before a colon, to the name that it surely is

    def split(self, rest: str) -> tuple[str, str]:
        """Return (name, text) of what follows a stamp; the name is empty for a line of the system."""
        written, colon, said = rest.partition(": ")
        sure = self._sure.get(written) if colon else None
        if sure is not None:
            return sure, said
        nick = NICK(rest)
        if nick:
            return nick[1], rest[nick.end() :]
        name, end = candidate(rest), _name_end(rest)
        if not name or end is None or self._is_system(name):
            return "", rest
        written, text = rest[: end.start()], rest[end.end() :]
        speaker = _without_tilde(written)
        if self._met[name] >= SURE_TIMES_QUOTED and len(self._sure) < NAMES_LIMIT:
            self._sure[written] = speaker
        return speaker, text[1:] if text[:1].isspace() else text

    def _is_system(self, name: str) -> bool:
        """Tell whether what stands before a colon is no name but the start of a line of the system."""
        met = self._met[name] + 1
        if met > 1 or len(self._met) < NAMES_LIMIT:
            self._met[name] = met
        if met >= SURE_TIMES_QUOTED:
            return False
        if _is_cut_quote(name):
            return True
        # Only the words before the colon count: `Bela: added salt` is a message.
        return met <= SURE_TIMES and (is_system(name) or is_system(f"{name}: x"))


def candidate(rest: str) -> str:
    """Return what stands before the first colon that a blank or nothing follows, if it may be a name."""
    nick = NICK(rest)
    if nick:
        return nick[1]
    end = _name_end(rest, 0, NAME_AT_MOST * 2)
    if end is None or (end.end() == NAME_AT_MOST * 2 and len(rest) > end.end()):
        return ""
    name = UNSEEN.sub("", rest[: end.start()]).strip()
    return name if len(name) <= NAME_AT_MOST else ""


def _is_cut_quote(name: str) -> bool:
    """Tell whether a quotation begins in the name and does not end there: `Ines changed the subject to "a`."""
    opened = sum(name.count(mark) for mark in OPENING) - sum(name.count(mark) for mark in CLOSING)
    return name.count('"') % 2 == 1 or opened > 0


def _without_tilde(name: str) -> str:
    """Return a name without the tilde that stands before those who are not in the address book."""
    if "~" not in name:
        return name
    plain = UNSEEN.sub("", name[:8]).lstrip()
    return name[name.index("~") + 1 :] if plain[:1] == "~" and plain[1:].strip() else name
