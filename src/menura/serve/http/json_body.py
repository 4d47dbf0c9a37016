"""The bytes of a JSON body are checked before anything reads them: what parsers disagree about does not get in."""

import re
from collections.abc import Iterator

import orjson

from menura.corpus.strict_json import parsed
from menura.errors import RequestError
from menura.serve.settings import HttpLimits

# Possessive, closing quote optional: linear in the length whatever the bytes are.
TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}:]', re.DOTALL)


def check_json(body: bytes, limits: HttpLimits) -> None:
    """Return if a body is JSON that means one thing; RequestError if not.

    Refused are NaN, infinities, numbers beyond a float, halves of surrogate pairs, bytes that are not UTF-8, a key that
    stands twice in an object, and more nesting or keys than the limits have.
    """
    depth, written = _counted(body)
    if depth > limits.json_depth:
        raise RequestError(f"JSON nested deeper than {limits.json_depth} levels", code="invalid_request_error")
    if written > limits.json_keys:
        raise RequestError(f"{written:,} keys in the JSON, limit {limits.json_keys:,}", code="invalid_request_error")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"the body is not JSON: {error}", code="invalid_request_error") from error
    if not isinstance(value, dict):
        raise RequestError("the body is not a JSON object", code="invalid_request_error")
    if _distinct(value) != written:
        raise RequestError(_twice(body), code="invalid_request_error")


def _counted(body: bytes) -> tuple[int, int]:
    """Return how deep values are nested and how many keys are written, whether or not it is JSON."""
    depth = deepest = keys = 0
    for match in TOKEN.finditer(body):
        token = match[0]
        if token in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in b"]}":
            depth -= 1
        elif token == b":":
            keys += 1
    return deepest, keys


def _distinct(value: object) -> int:
    return sum(len(found) for found in _objects(value))


def _objects(value: object) -> Iterator[dict[str, object]]:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            yield one
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)


def _twice(body: bytes) -> str:
    """Say which key stands twice; the slower parser names it."""
    _, problems = parsed(body.decode(), "body")
    return problems[0].message if problems else "a key stands twice in the JSON"
