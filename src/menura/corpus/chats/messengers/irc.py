"""Logs of IRC become messages: ``10:11 <nick> text``, ``[10:11] * nick waves``; joins and the like are the system's.

The day is told by lines of the log; where it is not, days are counted.
"""

import re
from collections.abc import Iterator

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes, Stamp
from menura.corpus.chats.messengers.message_lines import Line, first_lines, gathered
from menura.corpus.chats.messengers.missing_dates import Days

_STAMP = (
    r"\s?(?P<open>[\[(])?(?P<date>\d{4}-\d\d-\d\d[T ]|[A-Z][a-z]{2} \d\d )?(?P<time>\d\d:\d\d(?::\d\d)?)"
    r"(?:[+-]\d{4}|Z)?[\])]?[ \t]+"
)
_NICK = r"[^\s<>*]{1,64}"
SAID = re.compile(rf"{_STAMP}<(?P<mode>[ @+%&~]?)(?P<nick>{_NICK})>[ \t]?(?P<text>.*)", re.DOTALL).match
ACTED = re.compile(rf"{_STAMP}\*[ \t]+(?P<nick>{_NICK})[ \t](?P<text>.*)", re.DOTALL).match
_CHANGE = rf"\*[ \t]+{_NICK} (?:has (?:joined|left|quit)|is now known as)\b"
EVENT = re.compile(rf"{_STAMP}(?:-!-|-->|<--|--|\*{{2,}}|==|-[^\s-]{{1,64}}-|{_CHANGE})").match
LOG = re.compile(
    r"(?:---|\*{4}|Session (?:Start|Time|Close|Ident)|# (?:Log|Day))\b.{0,200}|--- (?:Log|Day).{0,200}|\*{4} .{0,200}"
).fullmatch
DATED = re.compile(
    r"[A-Z][a-z]{2} (?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2})(?: \d\d:\d\d:\d\d)? (?P<year>\d{4})"
).search


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    lines = first_lines(head)
    said = [found for line in lines if (found := SAID(line))]
    events = sum(EVENT(line) is not None or LOG(line) is not None for line in lines)
    # Lines with a date and names in brackets come from elsewhere too.
    own = events or any(not found["date"] for found in said)
    return "lines of an IRC log" if said and own and (len(said) + events) * 2 > len(lines) else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield one message a line; what somebody does (``* nick waves``) is a text in asterisks."""
    days = Days()

    def parsed_line(number: int, line: str) -> Message | Line:
        if LOG(line):
            _tell(days, line)
            return Line.NO_TEXT
        event = EVENT(line)
        if event:
            return Message("", line[event.end() :], number, _stamp(event, days), "system")
        said, acted = SAID(line), ACTED(line)
        if said:
            return Message(said["nick"], said["text"], number, _stamp(said, days))
        if acted:
            return Message(acted["nick"], f"*{acted['text'].strip()}*", number, _stamp(acted, days))
        return Line.GOES_ON

    return gathered(file, notes, parsed_line)


def _tell(days: Days, line: str) -> None:
    dated = DATED(line)
    if dated:
        days.on(int(dated["year"]), timestamp_parsing.month_of(dated["month"]), int(dated["day"]))


def _stamp(found: re.Match[str], days: Days) -> Stamp | None:
    if found["date"]:
        return timestamp_parsing.read(f"{found['date'].rstrip('T ')} {found['time']}")
    seconds = timestamp_parsing.clock(found["time"])
    return None if seconds is None else days.at(seconds)
