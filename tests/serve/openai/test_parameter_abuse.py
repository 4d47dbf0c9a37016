"""Every field of the schema gets every kind of nonsense; each is refused by name, and the next request is answered."""

from collections.abc import Iterator
from typing import Any

import pytest
from fake_engine import FakeEngine
from fastapi import FastAPI
from local_server import BEARER, HELLO, ask, post

from menura.serve.openai.chat_body import ChatCompletionBody, Extras
from menura.serve.openai.completions import CompletionBody
from menura.serve.openai.fields import TOLERATED

PROMPT = {"model": "tiny", "prompt": "a"}
BODIES = (
    ("/v1/chat/completions", HELLO, ChatCompletionBody, ()),
    ("/v1/completions", PROMPT, CompletionBody, ()),
    ("/v1/chat/completions", HELLO, Extras, ("menura",)),
)
NUMBERS = (-1, 2**31, 2**63, -(2**63) - 1, 10**30, 1e308, -1e308, 1.5)
OTHERS = ("1", "", True, False, [], {}, [1], {"a": 1}, ["x"], "x" * 1_000)


def fields() -> Iterator[tuple[str, dict[str, Any], tuple[str, ...], str, dict[str, Any]]]:
    """Yield (path, body, where the field stands, its name, its schema) of all fields that mean something."""
    for path, body, model, where in BODIES:
        for name, schema in model.model_json_schema()["properties"].items():
            if schema.get("description") not in (TOLERATED, "Unsupported.") and name != "menura":
                yield path, body, where, name, schema


def types_of(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return schema.get("anyOf", [schema])


def is_meant(value: object, schema: dict[str, Any]) -> bool:
    """Return whether a value is one that the schema of a number, a word or a switch allows."""
    for one in types_of(schema):
        kind = one.get("type")
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind == "boolean" and isinstance(value, bool):
            return True
        if kind == "string" and isinstance(value, str):
            fits = one.get("minLength", 0) <= len(value) <= one.get("maxLength", 1 << 30)
            return fits and value in one.get("enum", [value])
        if kind in ("integer", "number") and number:
            low, high = one.get("minimum", one.get("exclusiveMinimum", -1e999)), one.get("maximum", 1e999)
            if low <= value <= high and (kind == "number" or isinstance(value, int)):
                return True
    return False


def abuses() -> Iterator[tuple[str, dict[str, Any], str, object]]:
    """Yield (path, body, name, value) of everything that must be refused."""
    for path, body, where, name, schema in fields():
        bounds = [one[key] for one in types_of(schema) for key in ("maximum", "minimum") if key in one]
        beyond = [bound + 1 if bound > 0 else bound - 1 for bound in bounds]
        for value in (*NUMBERS, *OTHERS, *beyond):
            given = {name: value} if not where else {where[0]: {name: value}}
            container = any(one.get("type") in ("array", "object") or "$ref" in one for one in types_of(schema))
            if not is_meant(value, schema) and not (container and isinstance(value, list | dict)):
                yield path, body | given, name, value


def test_every_wrong_value_is_refused_and_named(app: FastAPI, engine: FakeEngine) -> None:
    tried = 0
    for path, body, name, value in abuses():
        reply = post(app, path, body)
        assert reply.status_code == 400, (name, value, reply.text[:300])
        error = reply.json()["error"]
        assert error["code"] in ("invalid_value", "unsupported_parameter"), (name, value)
        assert name in (error["param"] or error["message"]), (name, value, error)
        assert not engine.asked, (name, value)
        tried += 1
    assert tried > 400
    assert post(app, "/v1/chat/completions", HELLO).status_code == 200


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "01", "0x1", "+1", "1_000"])
def test_what_is_no_number_in_json_is_none(app: FastAPI, text: str) -> None:
    content = f'{{"model": "anna", "messages": [{{"role": "user", "content": "x"}}], "temperature": {text}}}'
    headers = BEARER | {"Content-Type": "application/json"}
    reply = ask(app, "POST", "/v1/chat/completions", content=content.encode(), headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"stop": ["x"] * 4}, 200),
        ({"stop": ["x"] * 5}, 400),
        ({"stop": ["x"] * 10_000}, 400),
        ({"stop": "x" * 65}, 400),
        ({"stop": [""]}, 400),
        ({"logit_bias": {str(n): 1 for n in range(300)}}, 200),
        ({"logit_bias": {str(n): 1 for n in range(301)}}, 400),
        ({"logit_bias": {str(n): 1 for n in range(100_000)}}, 400),
        ({"logit_bias": {"x": 1}}, 400),
        ({"logit_bias": {"1": 101}}, 400),
        ({"logit_bias": {"-1": 1}}, 400),
        ({"messages": HELLO["messages"] * 256}, 200),
        ({"messages": HELLO["messages"] * 257}, 400),
        ({"messages": HELLO["messages"] * 100_000}, 413),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 9_000}]}, 400),
        ({"messages": []}, 400),
        ({"messages": [{"role": "system", "content": "x"}]}, 400),
        ({"messages": [{"role": "tool", "content": "x"}]}, 400),
        ({"messages": [{"role": "user"}]}, 400),
        ({"messages": [{"role": "user", "content": None}]}, 400),
        ({"messages": [{"role": "user", "content": 3}]}, 400),
        ({"messages": ["hi"]}, 400),
        ({"messages": {"role": "user"}}, 400),
        ({"top_logprobs": 3}, 400),
        ({"n": 2, "menura": {"candidates": 3}}, 400),
        ({"n": 3, "menura": {"candidates": 3}}, 200),
    ],
    ids=lambda value: str(value)[:40],
)
def test_lists_have_their_limits(app: FastAPI, fields: dict[str, object], status: int) -> None:
    assert post(app, "/v1/chat/completions", HELLO | fields).status_code == status


def test_the_place_of_a_wrong_value_is_its_path(app: FastAPI) -> None:
    messages = [*HELLO["messages"] * 3, {"role": "usr", "content": "x"}]
    error = post(app, "/v1/chat/completions", HELLO | {"messages": messages}).json()["error"]
    assert error["param"] == "messages[3].role"
    assert "'system', 'developer', 'user' or 'assistant'" in error["message"]
