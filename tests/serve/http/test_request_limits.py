"""What is too large, too deep or said twice is refused before anything reads it."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from fake_engine import FakeEngine
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from local_server import BEARER, HELLO, app_of, ask, post

from menura.errors import RequestError
from menura.serve.http.json_body import check_json
from menura.serve.http.keys import KeyStore
from menura.serve.settings import HttpLimits, ServerSettings

CHAT = "/v1/chat/completions"
JSON = BEARER | {"Content-Type": "application/json"}
LIMITS = HttpLimits()


async def endless() -> AsyncIterator[bytes]:
    """Yield more than anybody may read."""
    for _ in range(1_000):
        yield b" " * 65_536
    raise AssertionError("all of it was read")


@pytest.mark.parametrize("extra", [0, 1])
def test_a_body_may_be_as_large_as_the_limit_and_no_larger(app: FastAPI, extra: int) -> None:
    body = json.dumps(HELLO).encode().ljust(LIMITS.body_bytes + extra)
    reply = ask(app, "POST", CHAT, content=body, headers=JSON)
    assert reply.status_code == (413 if extra else 200)


def test_a_body_without_a_length_is_refused_before_it_is_read_whole(app: FastAPI) -> None:
    reply = ask(app, "POST", CHAT, content=endless(), headers=JSON | {"Transfer-Encoding": "chunked"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "too_large")


def test_a_body_that_announces_itself_too_large_is_refused_unread(app: FastAPI) -> None:
    reply = ask(app, "POST", CHAT, content=endless(), headers=JSON | {"Content-Length": "2000000"})
    assert reply.status_code == 413
    assert reply.headers["Connection"] == "close"


def test_pasted_text_and_files_have_limits_of_their_own(engine: FakeEngine, keys: KeyStore) -> None:
    limits = replace(LIMITS, paste_bytes=10, upload_bytes=100, body_bytes=1)
    app = app_of(engine, keys, ServerSettings(http=limits))
    for kind, size, status in (
        ("text/plain", 10, 404),
        ("text/plain", 11, 413),
        ("application/zip", 100, 404),
        ("application/zip", 101, 413),
    ):
        reply = ask(app, "POST", "/api/uploads", content=b"x" * size, headers=BEARER | {"Content-Type": kind})
        assert reply.status_code == status, (kind, size)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_compressed_bodies_are_refused(app: FastAPI, encoding: str) -> None:
    reply = ask(app, "POST", CHAT, content=b"x", headers=JSON | {"Content-Encoding": encoding})
    assert reply.status_code == 415


def test_headers_and_urls_beyond_the_limits_are_refused(app: FastAPI) -> None:
    long_url = "/healthz?" + "x" * LIMITS.url_bytes
    assert ask(app, "GET", long_url).status_code == 414
    assert ask(app, "GET", "/healthz", headers={"X": "x" * LIMITS.header_bytes}).status_code == 431
    assert ask(app, "GET", "/healthz", headers={f"x-{n}": "x" for n in range(100)}).status_code == 431
    assert ask(app, "GET", "/healthz", headers={"X": "x" * 20_000}).status_code == 200


@pytest.mark.parametrize("path", ["/healthz%00", "/%ff%fe", "/a%0d%0ab", "/..%5c..%5cetc", "/v1/models/%1b[2J"])
def test_a_path_with_control_characters_or_broken_text_is_refused(app: FastAPI, path: str) -> None:
    assert ask(app, "GET", path).status_code == 400


BAD_JSON = {
    b"": "not JSON",
    b"{": "not JSON",
    b"nonsense": "not JSON",
    b"[]": "not a JSON object",
    b"null": "not a JSON object",
    b'"text"': "not a JSON object",
    b'{"a": NaN}': "not JSON",
    b'{"a": Infinity}': "not JSON",
    b'{"a": 1e999}': "not JSON",
    b'{"a": ' + b"9" * 5_000 + b"}": "not JSON",
    b'{"a": "\\ud800"}': "not JSON",
    b'{"a": "\xff"}': "not JSON",
    b"\xef\xbb\xbf{}": "not JSON",
    b'{"a": 1, "a": 2}': "a: the key stands twice",
    b'{"m": [{"b": {"x": 1, "\\u0078": 2}}]}': "m[0].b.x: the key stands twice",
    b'{"a":' + b"[" * 32 + b"]" * 32 + b"}": "nested deeper than 32",
    b"[" * 100_000: "nested deeper than 32",
    b'{"a":' * 20_000: "nested deeper than 32",
    b"{" + b",".join(b'"%d": 1' % n for n in range(10_001)) + b"}": "10,001 keys in the JSON, limit 10,000",
    b'{"a": 1}{"b": 2}': "not JSON",
    b"{'a': 1}": "not JSON",
    b'{"a": 1,}': "not JSON",
    b'{"a": "x\ny"}': "not JSON",
}


@pytest.mark.parametrize("body", BAD_JSON, ids=lambda body: repr(body[:24]))
def test_json_that_parsers_disagree_about_is_refused(app: FastAPI, engine: FakeEngine, body: bytes) -> None:
    with pytest.raises(RequestError, match=BAD_JSON[body].replace("[", r"\[")):
        check_json(body, LIMITS)
    if body:
        reply = ask(app, "POST", CHAT, content=body, headers=JSON)
        assert reply.status_code == 400
        assert reply.json()["error"]["code"] == "invalid_request_error"
        assert reply.json()["error"]["param"] is None
    assert not engine.asked
    assert post(app, CHAT, HELLO).status_code == 200


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), values), st.sampled_from([None, 2]))
def test_sound_objects_are_let_through(value: object, indent: int | None) -> None:
    for text in (json.dumps(value, indent=indent), json.dumps(value, ensure_ascii=False)):
        check_json(text.encode(), LIMITS)


@given(st.binary())
def test_any_bytes_are_an_object_or_refused(body: bytes) -> None:
    try:
        check_json(body, LIMITS)
    except RequestError:
        return
    assert isinstance(json.loads(body), dict)


def test_a_body_that_is_missing_is_named_so(app: FastAPI) -> None:
    reply = ask(app, "POST", CHAT, headers=JSON)
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "invalid_value"
