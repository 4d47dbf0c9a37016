"""Objects of an export's JSON are looked at field by field; what has the wrong type is noted, never raised."""

from collections.abc import Iterator
from typing import Any

from menura.corpus.chats.message import Message, Notes
from menura.corpus.source import MIB
from menura.errors import DataError

COLLECTED_LIMIT = 256 * MIB  # characters of messages that must lie in memory to be put in order
ROW_SIZE = 200  # bytes that a message takes besides its text
TYPES = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}


class ExportRow:
    """One object of an array; ``where`` names the array in messages, such as ``messages[]``."""

    def __init__(self, value: Any, number: int, where: str, notes: Notes) -> None:
        self._where, self._notes, self.number = where, notes, number
        self.fields: dict[str, Any] = value if isinstance(value, dict) else {}
        self.right = isinstance(value, dict)
        if not self.right:
            self.wrong("", value, "an object")

    def text(self, key: str, *, needed: bool = False) -> str:
        """Return a field that is text, or empty where it is missing or null."""
        value = self.fields.get(key)
        if isinstance(value, str):
            return value
        if value is not None:
            self.wrong(key, value, "text")
        elif needed:
            self._notes.wrong("schema", f"{self._where}.{key} is missing", self.number)
        return ""

    def number_of(self, key: str) -> float | None:
        """Return a field that is a number, or a number as text; None where there is none."""
        value = self.fields.get(key)
        if isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                self.wrong(key, value, "a number")
                return None
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
            return _float(value)
        self.wrong(key, value, "a number")
        return None

    def row(self, key: str) -> "ExportRow":
        """Return a field that is an object, without any fields where it is missing or null."""
        value = self.fields.get(key)
        return ExportRow({} if value is None else value, self.number, f"{self._where}.{key}", self._notes)

    def items(self, key: str) -> list[Any]:
        """Return a field that is a list, empty where it is missing or null."""
        value = self.fields.get(key)
        if value is None or isinstance(value, list):
            return value or []
        self.wrong(key, value, "a list")
        return []

    def has(self, *keys: str) -> bool:
        """Tell whether one of these fields holds something."""
        return any(self.fields.get(key) not in (None, "", False, [], {}) for key in keys)

    def wrong(self, key: str, value: Any, wanted: str) -> None:
        """Note a field of the wrong type."""
        path = f"{self._where}.{key}" if key else self._where
        self._notes.wrong("schema", f"{path} is {TYPES.get(type(value), 'null')}, must be {wanted}", self.number)


def bounded(messages: Iterator[Message], name: str) -> list[Message]:
    """Return the messages as a list; DataError where they are too many to lie in memory."""
    collected: list[Message] = []
    size = 0
    for message in messages:
        size += len(message.text) + ROW_SIZE
        if size > COLLECTED_LIMIT:
            hint = "split the export by months"
            raise DataError("more than 256 MiB of messages", code="too_large", place=name, hint=hint)
        collected.append(message)
    return collected


def _float(value: float | None) -> float | None:
    try:
        return None if value is None else float(value)
    except OverflowError:  # a whole number of hundreds of digits
        return None
