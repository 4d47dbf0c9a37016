"""The start of a JSON text, though it be cut off, becomes its key paths: they tell training sets and exports apart."""

import io
from collections.abc import Mapping
from functools import lru_cache

import ijson

DEPTH = 12  # no format has a telling key further down
STEP = 64  # bytes parsed at a time: what stands in one step before a fault is lost
KINDS = {"start_map": "object", "start_array": "array", "string": "text"}
# Keys of an object that holds the parts of a data set, each an array of rows.
WRAPPERS = ("data", "train", "valid", "validation", "test", "rows", "items", "examples", "dialogues", "dialogs")


@lru_cache(maxsize=8)  # every format asks about the same head
def shape(head: str) -> Mapping[str, str]:
    """Return the kind of the first value at each key path, none for a text that is no JSON.

    A path is that of one row, be the rows an array, lines, or an array below one of ``WRAPPERS``:
    ``messages.item.role`` stands for ``"messages": [{"role": …``.
    A kind is "object", "array", "text", or what JSON calls it.
    """
    if head.lstrip()[:1] not in ("{", "["):
        return {}
    paths: dict[str, str] = {}
    content = io.BytesIO(head.encode("utf-8", "replace"))
    try:
        # Without use_float the C parser of ijson 3.6 crashes on an integer of 5,000 digits.
        for path, event, _ in ijson.parse(content, multiple_values=True, use_float=True, buf_size=STEP):
            if path.count(".") > DEPTH:
                break
            if event.startswith("end_") or event == "map_key":
                continue
            path = _of_row(path)
            if paths.get(path, "null") == "null":
                paths[path] = KINDS.get(event, event)
    except ijson.JSONError:
        pass  # cut off, or broken from here on
    return paths


def keys(head: str) -> frozenset[str]:
    """Return the keys of the rows that a JSON text begins with."""
    return frozenset(path for path in shape(head) if path and "." not in path)


def _of_row(path: str) -> str:
    path = path.removeprefix("item.")
    first, _, below = path.partition(".")
    return below.removeprefix("item.") if first in WRAPPERS and below.startswith("item.") else path
