"""Chats that were copied from a window become messages: a name and a time, then the text, in one line or the next.

Teams, Slack, Zoom, Discord and Telegram are copied so: ``Ines 10:11`` above the text, ``[10:11] Ines`` above it,
``Ines (31 Dec, 10.11): text``, ``10:11:00 From Ines to Everyone : text``.
"""

import re
from collections import Counter
from collections.abc import Iterator

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes, Stamp
from menura.corpus.chats.messengers.message_lines import UNSEEN, Line, first_lines, gathered
from menura.corpus.chats.messengers.missing_dates import Days

SURE_TIMES = 2
WORDS_AT_MOST = 4  # of a name that is met for the first time
FIRST_LINES = 3  # among which the first message must begin
_CLOCK = r"\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:\s?[AaPp]\.?\s?[Mm]\.?| Uhr| h)?"
_WHEN = rf"(?P<when>(?:[^\s:\[\](){{}}][^:\[\](){{}}\n]{{0,40}}?[\s,]\s?)?{_CLOCK})"
# A word before the time may be a surname, so that only words of days are taken for one.
_DAYS = (
    "today|yesterday|mon(?:day)?|tue(?:s|sday)?|wed(?:nesday)?|thu(?:rs|rsday)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?"
    "|heute|gestern|montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|aujourd'hui|hier|lundi|mardi|mercredi"
    "|jeudi|vendredi|samedi|dimanche|hoy|ayer|lunes|martes|miércoles|jueves|viernes|sábado|domingo|hoje|ontem|oggi"
    "|ieri|lunedì|martedì|mercoledì|giovedì|venerdì|sabato|domenica|vandaag|gisteren|сегодня|вчера|今日|昨日|今天|昨天"
)
_DAY = (
    r"(?:\d[\d./-]{3,9}\d|\d{1,2}\.? [^\W\d]{3,9}\.?(?: \d{4})?|[^\W\d]{3,9} \d{1,2}(?:, \d{4})?"
    rf"|(?i:{_DAYS})\.?)"
)
_DATED = rf"(?P<when>(?:{_DAY}[\s,]{{1,3}}(?:at |um |à )?)?{_CLOCK})"
_NAME = r"(?P<name>[^\W\d_][^:\[\](){}<>\n\t]{0,59}?)"
_TALKERS = r"(?:From|Von|De|Da|Van|От)\s+(?P<name>\S.{0,59}?)\s+(?:[tT]o|an|para|à|a|aan|для)\s+\S[^:\n]{0,79}?"

AFTER_NAME = re.compile(rf"{_NAME}\s?\({_WHEN}\)\s?:[^\S\n]?(?P<text>.*)", re.DOTALL).fullmatch
ABOVE = re.compile(rf"{_NAME}(?:\s{{1,4}}|,\s|\s[-–—|•]\s|\t)\[?{_DATED}\]?:?\s*").fullmatch
BEFORE_NAME = re.compile(rf"\[{_WHEN}\]\s{_NAME}(?::\s(?P<text>.*)|:?\s*)", re.DOTALL).fullmatch
MEETING = re.compile(
    rf"(?P<when>\d{{1,2}}:\d{{2}}:\d{{2}})[\t ]+{_TALKERS}\s?:[^\S\n]?(?P<text>.*)", re.DOTALL
).fullmatch
MEETING_TABS = re.compile(rf"(?P<when>\d{{1,2}}:\d{{2}}:\d{{2}})\t\s?{_NAME}:\t(?P<text>.*)", re.DOTALL).fullmatch
LINE_PATTERNS = (AFTER_NAME, MEETING, MEETING_TABS, BEFORE_NAME, ABOVE)
_time = re.compile(_CLOCK).search
DATE = re.compile(r"[^\W\d]{3,12}\.? {1,2}\d{1,2}\b").match
LONGEST = 200  # characters in which name and time must stand


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    lines = first_lines(head)
    found = [_found(line) for line in lines]
    first = next((index for index, one in enumerate(found) if one), FIRST_LINES)
    named = [one["name"].strip() for one in found if one]
    if first >= FIRST_LINES or len(named) < 2 or len(named) * 8 < len(lines):
        return ""
    repeated = Counter(named).most_common(1)[0][1] > 1
    return "names with times, then text" if repeated or all(map(_is_namelike, named)) else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield one message a name with a time, and the lines under it."""
    met = Counter(found["name"].strip() for line in first_lines(file.head()) if (found := _found(line)))
    days = Days()

    def parsed_line(number: int, line: str) -> Message | Line:
        found = _found(line)
        if found is None:
            return Line.GOES_ON
        name = found["name"].strip()
        if met[name] < SURE_TIMES and not _is_namelike(name):
            return Line.GOES_ON
        return Message(name, found.groupdict().get("text") or "", number, _stamp(found["when"], days))

    return gathered(file, notes, parsed_line)


def _found(line: str) -> re.Match[str] | None:
    start = line[:LONGEST]
    if not any(character.isdigit() for character in start):
        return None
    line = UNSEEN.sub("", line)
    found = next((found for pattern in LINE_PATTERNS if (found := pattern(line))), None)
    # `Dec 31, 2023 10:11` has no name in it.
    return None if found is None or (DATE(found["name"]) and timestamp_parsing.month_of(found["name"][:3])) else found


def _is_namelike(name: str) -> bool:
    """Tell whether words look like a name that is met for the first time, unlike `see you at`."""
    words = name.split()
    return len(words) <= WORDS_AT_MOST and not any(word[0].islower() for word in words)


def _stamp(when: str, days: Days) -> Stamp | None:
    stamp = timestamp_parsing.read(when)
    if stamp is not None:
        return stamp
    time = _time(when)
    seconds = timestamp_parsing.clock(time[0]) if time else None
    return None if seconds is None else days.at(seconds)
