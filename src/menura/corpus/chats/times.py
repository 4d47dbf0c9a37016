"""Dates as files write them become points in time: which number is the day is found out from the whole file."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from math import log2
from statistics import fmean

from menura.corpus.chats.message import Stamp
from menura.errors import DataError

ORDERS = ("dmy", "mdy", "ymd")
TOLD = {"dmy": "day-first", "mdy": "month-first", "ymd": "year-first"}
HOUR, DAY = 3600, 86_400
LEAST_GAP, MOST_GAP = HOUR, DAY
LEAP_YEAR = 2000  # stands for a year that is not written, so that 29 February is a date
GAP = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d)", re.IGNORECASE)
UNITS = {"s": 1, "m": 60, "min": 60, "h": HOUR, "d": DAY}


@dataclass(frozen=True)
class Order:
    """The order of dates in a file, and why we think so."""

    name: str  # "dmy", "mdy" or "ymd"; empty where no date was met whose order is open
    reason: str = ""


def found_order(stamps: Iterable[tuple[int, Stamp]], name: str) -> Order:
    """Return the order of the dates of a file, given as (line, stamp); only those that leave it open are looked at.

    A number above 12 decides, else the number that changes most often through the file is the day, else AM and PM
    speak for the month first. Raises DataError where one date says day first and another month first.
    """
    day_first = month_first = 0
    changes = [0, 0]
    before: tuple[int, int, int] | None = None
    noon_marks = met = False
    for line, stamp in stamps:
        if stamp.order:
            continue
        first, second, third = stamp.date
        if first > 31:
            return Order("ymd", "the year comes first")
        met, noon_marks = True, noon_marks or stamp.noon_marks
        if first > 12:
            day_first = day_first or line
        if second > 12:
            month_first = month_first or line
        if before is not None:
            changes[0] += first != before[0]
            changes[1] += second != before[1]
        before = stamp.date
    if day_first and month_first:
        raise DataError(
            f"line {day_first} has the day first, line {month_first} the month",
            code="dates",
            place=name,
            hint="say which it is: --dates dmy, mdy or ymd; or export the parts into files of their own",
        )
    if not met:
        return Order("")
    if day_first or month_first:
        return Order("dmy" if day_first else "mdy", f"line {day_first or month_first} has a number above 12")
    if changes[0] != changes[1]:
        return Order("dmy" if changes[0] > changes[1] else "mdy", "the day is the number that changes most often")
    return Order(
        "mdy" if noon_marks else "dmy", "AM and PM go with it" if noon_marks else "nothing in the file says so"
    )


def when(stamp: Stamp, order: str) -> datetime | None:
    """Return the point in time, without a zone; None where there is no such date."""
    midnight = _midnight(stamp.date, stamp.order or order, told=bool(stamp.order))
    if midnight is None:
        return None
    try:
        return midnight + timedelta(seconds=stamp.seconds)
    except OverflowError:
        return None


def written(stamp: Stamp, moment: datetime) -> str:
    """Return a time as ISO 8601; without the year where the file has none."""
    return moment.strftime("%m-%dT%H:%M:%S") if stamp.order and _year(stamp) == 0 else moment.isoformat()


def default_gap(gaps: Sequence[float]) -> float:
    """Return the silence in seconds that parts two dialogues, from the silences between messages.

    The logarithms of the silences are divided into two groups whose means lie furthest apart for their sizes (Otsu,
    1979): those within a conversation and those between two. The result is at least an hour and at most a day.
    """
    logs = sorted(log2(gap) for gap in gaps if gap > 0)
    if not logs:
        return MOST_GAP
    best, cut = -1.0, logs[-1]
    total, below = sum(logs), 0.0
    for index, value in enumerate(logs[:-1], start=1):
        below += value
        if logs[index] == value:
            continue
        apart = below / index - (total - below) / (len(logs) - index)
        score = index * (len(logs) - index) * apart * apart
        if score > best:
            best, cut = score, fmean((value, logs[index]))
    return float(min(max(2.0**cut, LEAST_GAP), MOST_GAP))


def gap_of(text: str) -> float:
    """Return the seconds of a gap as typed, such as ``6h`` or ``90min``; ValueError for anything else."""
    match = GAP.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise ValueError(text)
    return float(match[1]) * UNITS[match[2].lower()]


def gap_text(seconds: float) -> str:
    """Return a gap for people, such as ``6 h`` or ``90 min``."""
    if seconds >= 2 * DAY:
        days = f"{seconds / DAY:.3g}"
        return f"{days} day" if days == "1" else f"{days} days"
    return f"{seconds / HOUR:.2g} h" if seconds >= 2 * HOUR else f"{seconds / 60:.0f} min"


@lru_cache(maxsize=1000)  # a chat has many messages a day
def _midnight(date: tuple[int, int, int], order: str, *, told: bool) -> datetime | None:
    """Return the day of a date in some order; ``told`` tells that the format has it, so that a year of 0 is none."""
    if not order:
        return None
    numbers = dict(zip(order, date, strict=True))
    year = numbers["y"]
    if year < 100:
        year = LEAP_YEAR if year == 0 and told else year + (2000 if year < 70 else 1900)
    try:
        return datetime(year, numbers["m"], numbers["d"])
    except (ValueError, OverflowError):
        return None


def _year(stamp: Stamp) -> int:
    return stamp.date[stamp.order.index("y")]
