"""Times without a date get one: from lines that tell the day, or by counting the days that pass."""

from datetime import date, timedelta

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.message import Stamp

DISORDER = 3600  # seconds that a time may go back without a new day having begun


class Days:
    """The day of times that stand without a date; where one goes back by more than an hour, the next day has begun."""

    def __init__(self) -> None:
        self._day: date | None = None
        self._passed = 0
        self._last = -1

    def on(self, year: int, month: int, day: int) -> None:
        """Take the date that a line of its own tells; one that does not exist is left out."""
        try:
            self._day, self._last = date(year, month, day), -1
        except ValueError:
            return

    def at(self, seconds: int) -> Stamp | None:
        """Return the stamp of a time of day; None where more than a year of days has passed since the first."""
        if seconds + DISORDER < self._last:
            self._passed += 1
            self._day = self._next(self._day)
        self._last = seconds
        if self._day is None:
            return timestamp_parsing.on_day(self._passed, seconds)
        return Stamp((self._day.year, self._day.month, self._day.day), seconds, "ymd")

    @staticmethod
    def _next(day: date | None) -> date | None:
        return day + timedelta(days=1) if day and day < date.max else day
