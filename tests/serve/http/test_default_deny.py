"""Without a key nothing answers but what is on the list, whatever routes there are."""

from collections.abc import Iterator

import pytest
from fake_engine import FakeEngine
from fastapi import APIRouter, FastAPI
from local_server import BEARER, HELLO, app_of, ask, services_for

from menura.serve.app import ROUTERS, create_app
from menura.serve.http.keys import KeyStore
from menura.serve.settings import ServerSettings

PUBLIC = {"/healthz", "/readyz", "/health", "/v1/health", "/sign-in"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
ORIGIN = {"Origin": "http://127.0.0.1:8765"}


def routes_of(app: FastAPI) -> Iterator[str]:
    """Yield all paths that the router knows, with something in place of parameters."""
    found = {path for router in ROUTERS for path in paths_in(router)} | {"/openapi.json"}
    assert {"/v1/models", "/v1/chat/completions", "/metrics"} <= found
    assert set(app.openapi()["paths"]) <= {path.replace(":path", "") for path in found}
    for path in sorted(found):
        yield path.replace("{name:path}", "anna")


def paths_in(router: APIRouter) -> set[str]:
    return {route.path for route in router.routes}


def test_every_route_and_method_needs_a_key_unless_it_is_listed(app: FastAPI, keys: KeyStore) -> None:
    keys.new("laptop")
    for path in [
        *routes_of(app),
        "/",
        "/nothing/here",
        "/static",
        "/v1",
        "/healthz/",
        "//healthz",
        "/static/../metrics",
    ]:
        for method in METHODS:
            status = ask(app, method, path, headers=ORIGIN).status_code
            public = path in PUBLIC or (path.startswith("/static/") and ".." not in path)
            assert (status == 401) == (not public), (method, path, status)


def test_a_new_route_needs_a_key_without_anybody_saying_so(engine: FakeEngine, keys: KeyStore) -> None:
    keys.new("laptop")
    router = APIRouter()

    @router.get("/api/new")
    async def new() -> str:
        return "secret"

    app = create_app(services_for(engine, keys), (*ROUTERS, router))
    assert ask(app, "GET", "/api/new").status_code == 401


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "menura.example", "::"])
def test_off_loopback_a_key_is_needed_even_where_none_was_made(engine: FakeEngine, keys: KeyStore, host: str) -> None:
    app = app_of(engine, keys, ServerSettings(host=host))
    assert ask(app, "GET", "/v1/models", headers=BEARER).status_code == 401
    assert ask(app, "GET", "/healthz").status_code == 200


def test_on_loopback_without_keys_any_bearer_is_taken(app: FastAPI) -> None:
    assert ask(app, "GET", "/v1/models").status_code == 200
    assert ask(app, "GET", "/v1/models", headers=BEARER).status_code == 200


def test_the_right_key_is_taken_and_all_others_are_refused(app: FastAPI, keys: KeyStore) -> None:
    _, secret = keys.new("laptop")
    given = [secret[:-1], secret + "a", "", " ", "null", secret.upper(), f"{secret},{secret}", "x" * 20_000]
    for wrong in [f"Bearer {one}" for one in given] + [secret, f"Basic {secret}", f"Token {secret}", ""]:
        reply = ask(app, "GET", "/v1/models", headers={"Authorization": wrong})
        assert reply.status_code in (401, 429), wrong
        assert reply.json()["error"]["code"] in ("invalid_api_key", "rate_limit_exceeded")
    assert ask(app, "GET", "/v1/models", headers={"Authorization": f"Bearer {secret}"}).status_code == 200


@pytest.mark.parametrize("name", ["key", "api_key", "access_token", "Token", "authorization"])
def test_a_key_in_the_query_is_refused_even_if_it_is_right(app: FastAPI, keys: KeyStore, name: str) -> None:
    _, secret = keys.new("laptop")
    headers = {"Authorization": f"Bearer {secret}"}
    assert ask(app, "GET", f"/v1/models?{name}={secret}").status_code == 401
    assert ask(app, "GET", f"/v1/models?{name}={secret}", headers=headers).status_code == 401


def test_wrong_keys_are_slowed_down_and_right_ones_are_not(app: FastAPI, keys: KeyStore) -> None:
    _, secret = keys.new("laptop")
    replies = [ask(app, "GET", "/v1/models", headers=BEARER) for _ in range(12)]
    assert [reply.status_code for reply in replies] == [401] * 10 + [429] * 2
    assert 1 <= int(replies[-1].headers["Retry-After"]) <= 61
    assert ask(app, "GET", "/v1/models", headers={"Authorization": f"Bearer {secret}"}).status_code == 200


def test_a_key_sees_its_own_personas_and_the_bases_and_no_others(app: FastAPI, keys: KeyStore) -> None:
    _, secret = keys.new("laptop", ["ann*"])
    headers = {"Authorization": f"Bearer {secret}"}
    listed = ask(app, "GET", "/v1/models", headers=headers).json()["data"]
    assert [one["id"] for one in listed] == ["anna", "tiny"]
    another = ask(app, "GET", "/v1/models/bob", headers=headers)
    unknown = ask(app, "GET", "/v1/models/bot", headers=headers)
    assert another.status_code == unknown.status_code == 404
    assert another.json()["error"]["message"].replace("bob", "bot") == unknown.json()["error"]["message"]
    for body in (HELLO | {"model": "bob"}, HELLO | {"model": "bob@1"}):
        assert ask(app, "POST", "/v1/chat/completions", json=body, headers=headers).status_code == 404
    assert ask(app, "POST", "/v1/completions", json={"model": "bob", "prompt": "x"}, headers=headers).status_code == 404
    assert ask(app, "POST", "/v1/chat/completions", json=HELLO, headers=headers).status_code == 200


def test_a_session_of_the_page_is_as_good_as_its_key_until_that_is_revoked(app: FastAPI, keys: KeyStore) -> None:
    key, secret = keys.new("laptop")
    signed = ask(app, "POST", "/sign-in", json={"key": secret}, headers=ORIGIN)
    assert signed.status_code == 204
    given = signed.headers["Set-Cookie"].lower()
    assert "httponly" in given
    assert "samesite=strict" in given
    assert "path=/" in given
    cookie = {"Cookie": signed.headers["Set-Cookie"].partition(";")[0]}
    assert ask(app, "GET", "/v1/models", headers=cookie).status_code == 200
    assert ask(app, "POST", "/v1/chat/completions", json=HELLO, headers=cookie).status_code == 403, "no Origin"
    assert ask(app, "POST", "/v1/chat/completions", json=HELLO, headers=cookie | ORIGIN).status_code == 200
    keys.revoke(key.key_id)
    keys.new("another")
    assert ask(app, "GET", "/v1/models", headers=cookie).status_code == 401


def test_signing_out_ends_the_session(app: FastAPI, keys: KeyStore) -> None:
    _, secret = keys.new("laptop")
    signed = ask(app, "POST", "/sign-in", json={"key": secret}, headers=ORIGIN)
    cookie = {"Cookie": signed.headers["Set-Cookie"].partition(";")[0]}
    assert ask(app, "POST", "/sign-out", headers=cookie | ORIGIN).status_code == 204
    assert ask(app, "GET", "/v1/models", headers=cookie).status_code == 401


def test_a_session_expires(app: FastAPI, keys: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    _, secret = keys.new("laptop")
    monkeypatch.setattr("menura.serve.http.sessions.SECONDS", 0)
    signed = ask(app, "POST", "/sign-in", json={"key": secret}, headers=ORIGIN)
    cookie = {"Cookie": signed.headers["Set-Cookie"].partition(";")[0]}
    assert ask(app, "GET", "/v1/models", headers=cookie).status_code == 401


def test_signing_in_with_wrong_keys_is_slowed_down_too(app: FastAPI, keys: KeyStore) -> None:
    keys.new("laptop")
    found = [ask(app, "POST", "/sign-in", json={"key": "x"}, headers=ORIGIN).status_code for _ in range(11)]
    assert found == [401] * 10 + [429]


def test_who_opens_a_page_without_a_key_is_shown_the_way_to_sign_in(app: FastAPI, keys: KeyStore) -> None:
    keys.new("laptop")
    reply = ask(app, "GET", "/", headers={"Accept": "text/html,*/*"})
    assert reply.status_code == 401
    assert 'href="/sign-in"' in reply.text
