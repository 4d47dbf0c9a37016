"""A JSON value becomes typed fields; each one missing or wrong is noted with its key path."""

from collections.abc import Mapping
from typing import cast

from menura.corpus.strict_json import step
from menura.errors import Problem

KINDS: Mapping[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    list: "an array",
    dict: "an object",
}


class Schema:
    """Reads fields and goes on after a wrong one, so that ``problems`` in the end holds all of them."""

    def __init__(self, place: str) -> None:
        self.place = place
        self.problems: list[Problem] = []

    def wrong(self, path: str, message: str) -> None:
        """Note one defect at a key path."""
        self.problems.append(Problem("schema", f"{path}: {message}", self.place))

    def fields(self, value: object, path: str) -> dict[str, object]:
        """Return the value if it is an object, else an empty one."""
        return cast(dict[str, object], value) if self._is(value, dict, path) else {}

    def items(self, owner: Mapping[str, object], key: str, path: str = "") -> list[tuple[str, object]]:
        """Return (key path, item) of a required array."""
        path = step(path, key)
        if key not in owner:
            self.wrong(path, "required, is missing")
            return []
        return self.elements(owner[key], path)

    def elements(self, value: object, path: str) -> list[tuple[str, object]]:
        """Return (key path, item) of a value that must be an array."""
        if not self._is(value, list, path):
            return []
        return [(f"{path}[{index}]", item) for index, item in enumerate(cast(list[object], value))]

    def text(self, owner: Mapping[str, object], key: str, path: str = "", *, blank: bool = False) -> str:
        """Return a required text; ``blank`` allows it to say nothing."""
        path = step(path, key)
        if key not in owner:
            self.wrong(path, "required, is missing")
            return ""
        return self.words(owner[key], path, blank=blank)

    def words(self, value: object, path: str, *, blank: bool = False) -> str:
        """Return the value if it is text, else an empty text; ``blank`` allows it to say nothing."""
        if not self._is(value, str, path):
            return ""
        text = cast(str, value)
        if not blank and not text.strip():
            self.wrong(path, "is empty")
        return text

    def texts(self, value: object, path: str) -> tuple[str, ...]:
        """Return an array of texts."""
        return tuple(self.words(item, at) for at, item in self.elements(value, path))

    def _is(self, value: object, kind: type, path: str) -> bool:
        if isinstance(value, kind):
            return True
        self.wrong(path, f"is {KINDS[type(value)]}, must be {KINDS[kind]}")
        return False
