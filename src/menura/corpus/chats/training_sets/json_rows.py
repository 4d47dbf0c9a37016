"""A data set in JSON becomes its rows, be they lines, one array, arrays below a key, or a single object."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, cast

from menura.corpus.chats.chat_file import DEPTH_LIMIT, ChatFile
from menura.corpus.chats.json_shape import WRAPPERS
from menura.corpus.chats.message import Notes
from menura.corpus.schema import KINDS
from menura.corpus.source import MIB
from menura.corpus.strict_json import parsed, step
from menura.errors import DataError

OBJECT_LIMIT = 32 * MIB  # of a document that is one object, which lies in memory


@dataclass(frozen=True, slots=True)
class Row:
    """One object. ``line`` is that of a file of lines, 0 in any other, where ``path`` leads to it."""

    line: int
    path: str
    value: dict[str, object]


def rows(file: ChatFile, notes: Notes, own: Collection[str]) -> Iterator[Row]:
    """Yield the rows of a file; what is no row is noted.

    ``own`` are the keys that a row has one of; an object without them may hold arrays of rows.
    """
    if _is_lines(file):
        yield from _of_lines(file, notes, own)
    else:
        yield from _of_document(file, notes, own)


def _is_lines(file: ChatFile) -> bool:
    """Tell whether each line is an object by itself; DataError where the bytes are no text."""
    try:
        first = next((line.strip() for _, line in file.lines() if line.strip()), "")
    except DataError as error:
        if error.problems[0].code == "json_limit":
            return False  # a document may be one long line
        raise
    if first[:1] in ("", "["):
        return not first
    problems = parsed(first, file.name, 1, depth=DEPTH_LIMIT)[1]
    # The first line of an object that is printed over several lines is no JSON, nor is that of a broken file of lines.
    return not problems or problems[0].code != "jsonl_syntax" or first.endswith("}")


def _of_lines(file: ChatFile, notes: Notes, own: Collection[str]) -> Iterator[Row]:
    for number, line in file.lines():
        if not line.strip():
            continue
        value, problems = parsed(line, file.name, number, depth=DEPTH_LIMIT)
        for problem in problems:
            notes.add(problem)
        if not problems:
            yield from _rows_of(value, Row(number, "", {}), notes, own)


def _of_document(file: ChatFile, notes: Notes, own: Collection[str]) -> Iterator[Row]:
    if file.head().lstrip().startswith("["):
        for index, (_, value) in enumerate(file.values("item")):
            yield from _rows_of(value, Row(0, f"[{index}]", {}), notes, own)
    elif file.size <= OBJECT_LIMIT:
        for _, value in file.values(""):
            yield from _rows_of(value, Row(0, "", {}), notes, own)
    else:
        met: dict[str, int] = {}
        for prefix, value in file.values(*(f"{key}.item" for key in WRAPPERS)):
            key = prefix.removesuffix(".item")
            yield from _rows_of(value, Row(0, f"{key}[{met.get(key, 0)}]", {}), notes, own)
            met[key] = met.get(key, 0) + 1
        if not met:
            hint = "write one dialogue a line"
            notes.wrong("too_large", f"one object of more than {OBJECT_LIMIT // MIB} MiB", hint=hint)


def _rows_of(value: Any, at: Row, notes: Notes, own: Collection[str]) -> Iterator[Row]:
    """Yield an object, or the rows in its arrays where it has no key of a row itself."""
    if not isinstance(value, dict):
        kind = KINDS.get(type(value), "something else")
        notes.wrong("schema", f"{at.path or 'line'}: is {kind}, must be a JSON object", at.line)
        return
    held = [] if any(key in value for key in own) else [key for key in value if _holds_rows(value[key], own)]
    if not held:
        yield Row(at.line, at.path, cast(dict[str, object], value))
    for key in held:
        for index, item in enumerate(value[key]):
            yield from _rows_of(item, Row(at.line, f"{step(at.path, key)}[{index}]", {}), notes, own)


def _holds_rows(value: object, own: Collection[str]) -> bool:
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and any(key in first for key in own)
