"""Untrusted text becomes JSON values, or problems: nothing that a later station could trip over gets through."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

from menura.corpus.source import Source
from menura.errors import SHOWN_AT_MOST, Problem, shown

DEPTH_LIMIT = 32
DIGITS_LIMIT = 300  # the largest float has 309 digits
SURROGATE = re.compile("[\ud800-\udfff]")
# Possessive, closing quote optional: linear in the length whatever the text is.
STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True)
class Refused:
    """Stands in a parsed value where the text had something that is not allowed."""

    reason: str


@dataclass(frozen=True)
class Record:
    """One JSON object, the ``number``-th of its file (from 1), with its place and the key path down to it."""

    number: int
    place: str
    path: str
    value: dict[str, object]


def parsed(text: str, name: str, line: int | None = None, *, depth: int = DEPTH_LIMIT) -> tuple[object, list[Problem]]:
    """Return (value, problems); the value is None where there are problems.

    ``line`` is the line in file ``name`` that ``text`` stands on; None if the text is the whole file. ``depth`` is how
    deep values may be nested.
    """
    place = name if line is None else f"{name}:{line}"
    if _depth(text, depth) > depth:
        return None, [Problem("json_limit", f"nested deeper than {depth} levels", place)]
    met: list[Refused] = []
    try:
        value = _loaded(text, met)
    except json.JSONDecodeError as error:
        at = f"{name}:{line or error.lineno}:{error.colno}"
        return None, [Problem("jsonl_syntax", f"not valid JSON ({error.msg})", at)]
    # Walking through every value is only worth its time if there is something to find.
    if not met and "\\ud" not in text.lower():
        return value, []
    problems = [Problem("json_limit", f"{path or 'value'}: {reason}", place) for path, reason in _refusals(value, "")]
    return (None if problems else value), problems


def records(source: Source) -> Iterator[Record | Problem]:
    """Yield one record per line that holds a JSON object, one problem per line that does not."""
    for number, (line, text) in enumerate(source.lines(), start=1):
        value, problems = parsed(text, source.name, line)
        yield from problems
        if not problems:
            yield _record(Record(number, source.place(line), "", {}), value)


def array_records(source: Source) -> Iterator[Record | Problem]:
    """Yield one record per object of a file that is one JSON array."""
    value, problems = parsed(source.text, source.name)
    yield from problems
    for index, item in enumerate(value if isinstance(value, list) else []):
        yield _record(Record(index + 1, source.name, f"[{index}]", {}), item)


def step(path: str, key: str) -> str:
    """Return the key path one key further down: ``turns[2]`` and ``text`` give ``turns[2].text``."""
    if not key.isidentifier() or len(key) > SHOWN_AT_MOST:
        return f"{path}[{shown(key)}]"
    return f"{path}.{key}" if path else key


def _record(at: Record, value: object) -> Record | Problem:
    if not isinstance(value, dict):
        return Problem("schema", f"{at.path or 'line'}: must be a JSON object", at.place)
    return Record(at.number, at.place, at.path, cast(dict[str, object], value))


def _loaded(text: str, met: list[Refused]) -> object:
    def refused(reason: str) -> Refused:
        met.append(Refused(reason))
        return met[-1]

    return json.loads(
        text,
        parse_constant=lambda word: refused(f"{word} is not allowed in JSON"),
        parse_float=lambda digits: _float(digits, refused),
        parse_int=lambda digits: int(digits) if len(digits) <= DIGITS_LIMIT else refused("number too large"),
        object_pairs_hook=lambda pairs: _object(pairs, refused),
    )


def _float(digits: str, refused: Callable[[str], Refused]) -> float | Refused:
    number = float(digits)
    return number if abs(number) != float("inf") else refused("number too large")


def _object(pairs: list[tuple[str, object]], refused: Callable[[str], Refused]) -> dict[str, object]:
    record = dict(pairs)
    if len(record) < len(pairs):
        for key, count in Counter(key for key, _ in pairs).items():
            if count > 1:
                record[key] = refused("the key stands twice")
    return record


def _depth(text: str, limit: int) -> int:
    if text.count("[") + text.count("{") <= limit:
        return 0
    depth = deepest = 0
    for match in STRING_OR_BRACKET.finditer(text):
        bracket = match[0]
        if bracket in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif bracket in "]}":
            depth -= 1
    return deepest


def _refusals(value: object, path: str) -> Iterator[tuple[str, str]]:
    """Yield (key path, reason) for all that is refused below ``value``; the depth is limited already."""
    if isinstance(value, Refused):
        yield path, value.reason
    elif isinstance(value, str) and SURROGATE.search(value):
        yield path, "half of a surrogate pair"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _refusals(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if SURROGATE.search(key):
                yield path, "half of a surrogate pair in a key"
            yield from _refusals(item, step(path, key))
