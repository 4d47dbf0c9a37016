"""Dates and times in the many ways in which exports write them become stamps."""

import re
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from menura.corpus.chats.message import Stamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOURS, MINUTES, NOON = 24, 60, 12
YEAR_DIGITS = 4
LONGEST = 120  # characters of a stamp, with all that may stand around it

# Words of a day's half, without blanks and stops, in small letters.
_BEFORE_NOON = (
    "am 上午 早上 清晨 凌晨 午前 오전 새벽 ص صباحا صباحًا πμ öö de sa ap fm vm vorm pg قظ पूर्वाह्न मपू पूर्व সকাল ก่อนเที่ยง "
    "לפנהצ pd eparadites dop dopo priedpiet priešpiet"
)
_AFTER_NOON = (
    "pm 下午 傍晚 晚上 午後 오후 저녁 م مساء مساءً μμ ös du ch ip em nm nachm ptg بظ अपराह्न मउ बजेशाम शाम বিকাল หลังเที่ยง "
    "אחהצ md epasdites odp odpo pēcp popiet"
)
BEFORE_NOON, AFTER_NOON = frozenset(_BEFORE_NOON.split()), frozenset(_AFTER_NOON.split())
AROUND_NOON = frozenset(["中午", "正午"])
MIDNIGHT = frozenset(["半夜", "午夜"])
_stops = re.compile(r"[\s.,،·'\"״׳]+").sub
_AT_END = tuple(word for word in BEFORE_NOON | AFTER_NOON | AROUND_NOON | MIDNIGHT if word[0] > "\u2fff")

# A month is known by its first four letters, else by its first three.
_MONTHS = """
jan januari ene gen ocak oca янв січ sty led ιαν ינו
feb fév fev feb şub фев лют lut úno φεβ פבר
mar mrt mär mrz maa марта мар бер bře μαρ מרץ
apr abr avr nis апр кві kwi dub απρ אפר
may mai mei maj mag май мая тра kvě μαΐ μαι מאי
jun juin giu haz июн чер cze čer ιου יונ
jul juil lug tem июл лип чвн ιουλ יול
aug ago aoû agu agt ağu авг сер sie srp αυγ אוג
sep set eyl сен вер wrz zář σεπ ספט
oct okt out ott eki окт жов paź říj οκτ אוק
nov kas ноя лис lis νοε נוב
dec dez déc des dic dis ara дек гру gru pro δεκ דצמ
"""
_MONTH_OF = {word: number for number, line in enumerate(_MONTHS.strip().split("\n"), 1) for word in line.split()}
MONTH = r"(?P<month>[^\W\d_]{3,12})\.?"

# Three numbers; between them one mark, alike both times, or East Asian words.
NUMBERS = (
    r"(?P<a>\d{1,4})(?:(?P<mark>[./-]) ?(?P<b>\d{1,2})(?P=mark) ?(?P<c>\d{1,4})"
    r"|(?P<east>[年년]) ?(?P<eb>\d{1,2})[月월] ?(?P<ec>\d{1,2})[日일])"
)
CLOCK = (
    r"(?P<hour>\d{1,2})(?:[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,]\d{1,9})?)?"
    r"|[時时点시h] ?(?P<em>\d{1,2})(?:[分분] ?(?:(?P<es>\d{1,2})[秒초])?)?)(?!\d)"
)
# What may stand between date and time, and behind the time: a comma, a weekday, `klo`, `下午`, `p. m.`, `Uhr`.
BETWEEN = r"(?P<between>(?<=[日일])|[^\d\[\]<>:\n]{1,24}?)"
BEHIND = r"(?P<behind>[^\d\[\]<>:\n]{0,16}?)"
DATE_AND_TIME = f"{NUMBERS}{BETWEEN}{CLOCK}{BEHIND}"
TIME_AND_DATE = f"{CLOCK}{BEHIND},? {NUMBERS}"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|º|er)?\.?"
DAY_AND_MONTH = rf"{_DAY}[ -]?(?:de |of )?{MONTH},?(?:[ -]?(?:de )?(?P<year>\d{{4}}|(?<=-)\d{{2}})(?!\d))?"
MONTH_AND_DAY = rf"{MONTH}[ -]{{1,2}}{_DAY},?(?: (?P<year>\d{{4}})(?!\d))?"
MARKED_CLOCK = rf"{CLOCK}(?P<behind>(?:\s?(?:[AaPp]\.?\s?[Mm]\.?|[مص])(?=[\s,:)\]]))?)"  # where a name may follow
WORDY = tuple(re.compile(f"{day}{BETWEEN}{CLOCK}{BEHIND}$") for day in (DAY_AND_MONTH, MONTH_AND_DAY))
_numbers = re.compile(f"{DATE_AND_TIME}$").match
_iso = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d{1,9})?)?(?:(Z)|([+-])(\d\d):?(\d\d))?\Z"
).match
_clock = re.compile(f"{CLOCK}{BEHIND}$").match


def stamp_of(found: re.Match[str]) -> Stamp | None:
    """Return the stamp of a match with the groups of a date and of ``CLOCK``; None where these are no date and time."""
    names = found.re.groupindex
    clock = _clock_of(found, between="between" in names)
    if clock is None:
        return None
    if "month" in names:
        return _wordy(found, clock[0])
    date = _date_of(*found.group("a", "b", "c", "east", "eb", "ec"))
    return Stamp(date[0], clock[0], date[1], clock[1]) if date else None


def read(text: str) -> Stamp | None:
    """Return the stamp of a text that is nothing but a date and a time, None for any other text."""
    text = text.strip()[:LONGEST]
    found = _iso(text)
    if found:
        return _iso_stamp(found)
    found = _numbers(text)
    if found:
        return stamp_of(found)
    for pattern in WORDY:
        found = pattern.match(text)
        if found:
            return stamp_of(found)
    return None


def clock(text: str) -> int | None:
    """Return the seconds since midnight of a text that is a time alone, None for other text."""
    found = _clock(text.strip()[:LONGEST])
    told = _clock_of(found, between=False) if found else None
    return told[0] if told else None


def on_day(days: int, seconds: int) -> Stamp | None:
    """Return the stamp of a time whose date is not written, only how many days it is after the first of the file."""
    day = date(2000, 1, 1) + timedelta(days=min(days, 366))
    return Stamp((0, day.month, day.day), seconds, "ymd") if day.year == date(2000, 1, 1).year else None


def of_epoch(seconds: float) -> Stamp | None:
    """Return the stamp of seconds since 1970, in UTC; None where there is no such time."""
    try:
        return _of_moment(EPOCH + timedelta(seconds=seconds))
    except (OverflowError, ValueError):  # beyond the year 9999, not a number
        return None


def month_of(word: str) -> int:
    """Return the number of a month by its name or the start of it in many languages, 0 for any other word."""
    word = word.casefold()
    return _MONTH_OF.get(word[:4]) or _MONTH_OF.get(word[:3]) or 0


def _wordy(found: re.Match[str], seconds: int) -> Stamp | None:
    """Return the stamp of a date with the name of its month; None where the word is none."""
    month = month_of(found["month"])
    return Stamp((int(found["year"] or 0), month, int(found["day"])), seconds, "ymd") if month else None


def _iso_stamp(found: re.Match[str]) -> Stamp | None:
    year, month, day, hour, minute = (int(found[group]) for group in range(1, 6))
    try:
        moment = datetime(year, month, day, hour, minute, int(found[6] or 0), tzinfo=UTC)
        if found[8]:
            ahead = timedelta(hours=int(found[9]), minutes=int(found[10]))
            moment = moment - ahead if found[8] == "+" else moment + ahead
    except (ValueError, OverflowError):
        return None
    return _of_moment(moment)


def _of_moment(moment: datetime) -> Stamp:
    seconds = moment.hour * 3600 + moment.minute * 60 + moment.second
    return Stamp((moment.year, moment.month, moment.day), seconds, "ymd")


@lru_cache(maxsize=1000)  # a chat has many messages a day
def _date_of(
    a: str, b: str | None, c: str | None, east: str | None, eb: str | None, ec: str | None
) -> tuple[tuple[int, int, int], str] | None:
    """Return three numbers and their order, where the year comes first; None where these are no date."""
    numbers = (int(a), int((eb if east else b) or 0), int((ec if east else c) or 0))
    if not all(numbers) or len(a) == YEAR_DIGITS - 1:
        return None
    return numbers, "ymd" if east or len(a) == YEAR_DIGITS else ""


def _clock_of(found: re.Match[str], *, between: bool) -> tuple[int, bool] | None:
    words = found["between"] if between else None
    return _seconds(found.group("hour", "minute", "second", "em", "es"), found["behind"] or "", words or "")


@lru_cache(maxsize=2000)  # a day has 1,440 minutes
def _seconds(clock: tuple[str | None, ...], behind: str, between: str) -> tuple[int, bool] | None:
    """Return the seconds since midnight, and whether AM or PM stands there; None where there is no such time.

    ``clock`` are the groups of ``CLOCK``, ``behind`` and ``between`` the words around it.
    """
    hour, minute, second, east_minute, east_second = (int(digits or 0) for digits in clock)
    minute, second = minute or east_minute, second or east_second
    if hour > HOURS or minute >= MINUTES or second > MINUTES:
        return None
    half = _half(between, behind)
    if half == "pm" and hour < NOON:
        hour += NOON
    elif half == "am" and hour == NOON:
        hour = 0
    elif half == "noon" and hour < NOON - 2:
        hour += NOON
    # In capitals, as where the month goes first; `pm` and `p. m.` are others'.
    marks = behind.strip() in {"AM", "PM"}
    return hour % HOURS * 3600 + minute * 60 + min(second, MINUTES - 1), marks


@lru_cache(maxsize=1000)
def _half(between: str, behind: str) -> str:
    """Return "am", "pm" or "noon" where the words before or behind a time tell it."""
    for words in (behind, between):
        for word in (words, *words.split()):
            key = _stops("", word).casefold()
            if key in {"sa", "ch"} and not word.isupper():
                continue  # Vietnamese; elsewhere Saturday
            if half := _half_of(key):
                return half
            ending = next((word for word in _AT_END if key.endswith(word)), "")
            if ending:
                return _half_of(ending)
    return ""


def _half_of(key: str) -> str:
    if key in BEFORE_NOON or key in MIDNIGHT:
        return "am"
    if key in AFTER_NOON:
        return "pm"
    return "noon" if key in AROUND_NOON else ""
