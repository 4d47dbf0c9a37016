"""Times in tables and in SillyTavern's chats, in one form or another, become stamps."""

import re

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.message import Stamp

NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,20})?")
# SillyTavern's: "2023-12-1 @10h 30m 5s 123ms".
HOURS_MARKED = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})\s*@\s*(\d{1,2})h\s*(\d{1,2})m(?:\s*(\d{1,2})s(?:\s*\d{1,3}ms)?)?"
)
DATE_ALONE = re.compile(r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})")
EARLIEST = 10**8  # seconds: 1973; smaller numbers are no times
# Thousandths and millionths of seconds are told by their size, up to the year 5138.
UNITS = ((10**11, 1), (10**14, 1_000), (10**17, 1_000_000))


def stamp_of(value: object) -> Stamp | None:
    """Return the stamp of a text or a number of seconds since 1970 or parts of them, None where it is no time."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip() if isinstance(value, str) else ""
    if text and not NUMBER.fullmatch(text):
        return _of_text(text)
    if isinstance(value, str) and not text:
        return None
    seconds = float(value)
    unit = next((unit for limit, unit in UNITS if EARLIEST <= seconds < limit), 0)
    return timestamp_parsing.of_epoch(seconds / unit) if unit else None


def _of_text(text: str) -> Stamp | None:
    match = HOURS_MARKED.fullmatch(text)
    if match:
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
        return timestamp_parsing.read(f"{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
    if DATE_ALONE.fullmatch(text):
        text += " 00:00"
    return timestamp_parsing.read(text)
