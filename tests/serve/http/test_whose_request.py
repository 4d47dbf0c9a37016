"""A page that somebody else wrote cannot use the server, by whatever name or site it asks."""

import pytest
from fake_engine import FakeEngine
from fastapi import FastAPI
from foreign_hosts import NOT_OURS, OURS
from local_server import BEARER, HELLO, app_of, ask

from menura.serve.http.keys import KeyStore
from menura.serve.http.request_checks import allowed_hosts, is_loopback
from menura.serve.settings import ServerSettings

CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("host", OURS)
def test_the_server_answers_to_its_own_names(app: FastAPI, host: str) -> None:
    assert ask(app, "GET", "/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", NOT_OURS)
def test_any_other_host_is_refused_on_every_route(app: FastAPI, host: str) -> None:
    for path in ("/healthz", "/v1/models", "/nothing"):
        reply = ask(app, "GET", path, headers={"Host": host.encode("latin-1"), "X-Forwarded-Host": b"127.0.0.1:8765"})
        assert reply.status_code == 421
        assert "bad_host" in reply.text


def test_there_are_at_least_forty_hosts_tried() -> None:
    assert len(set(NOT_OURS)) >= 40


def test_two_hosts_are_none(app: FastAPI) -> None:
    reply = ask(app, "GET", "/healthz", headers=[("Host", "127.0.0.1:8765"), ("Host", "127.0.0.1:8765")])
    assert reply.status_code == 421


def test_a_name_that_was_allowed_is_answered_with_and_without_the_port(engine: FakeEngine, keys: KeyStore) -> None:
    app = app_of(engine, keys, ServerSettings(hosts=("Menura.example", "proxy:443")))
    for host, status in {"menura.example": 200, "menura.example:8765": 200, "menura.example:1": 421}.items():
        assert ask(app, "GET", "/healthz", headers={"Host": host}).status_code == status, host
    for host, status in {"proxy:443": 200, "proxy": 421, "proxy:8765": 421}.items():
        assert ask(app, "GET", "/healthz", headers={"Host": host}).status_code == status, host


def test_a_server_on_every_address_answers_to_the_one_it_was_reached_by_and_not_to_zero() -> None:
    hosts = allowed_hosts(ServerSettings(host="0.0.0.0"), 8765, "192.168.1.5")
    assert "192.168.1.5:8765" in hosts
    assert "0.0.0.0:8765" not in hosts
    assert "192.168.1.5:8765" not in allowed_hosts(ServerSettings(), 8765, "192.168.1.5")
    assert "[fe80::1]:8765" in allowed_hosts(ServerSettings(host="::"), 8765, "fe80::1")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        *(("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("localhost", True)),
        *(("0.0.0.0", False), ("::", False), ("", False), ("192.168.1.5", False), ("10.0.0.1", False), ("0", False)),
        *(("menura.example", False), ("localhost.evil", False), ("fe80::1", False), ("169.254.1.1", False)),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback


CROSS_SITE = (
    {"Origin": "https://evil.test"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "https://evil.test", **BEARER},
    {"Origin": "http://127.0.0.1:8766"},
    {"Origin": "http://127.0.0.1:8765.evil.test"},
    {"Origin": "http://127.0.0.1:8765@evil.test"},
    {"Origin": "http://127.0.0.1"},
    {"Origin": "file://"},
    {"Origin": "ftp://127.0.0.1:8765"},
    {"Origin": "127.0.0.1:8765"},
    {"Origin": "http://127.0.0.1:8765/"},
    {"Origin": "http://127.0.0.1:8765, http://evil.test"},
    {"Origin": "chrome-extension://127.0.0.1:8765"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", **BEARER},
    {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
    {"Sec-Fetch-Site": "none"},
    {"Referer": "http://127.0.0.1:8765/"},
    {},
)


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
def test_another_site_s_page_changes_nothing(app: FastAPI, engine: FakeEngine, headers: dict[str, str]) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        reply = ask(app, method, CHAT, json=HELLO, headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (403, "cross_site")
    assert not engine.asked


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:8765"},
        {"Origin": "http://localhost:8765", "Sec-Fetch-Site": "same-site"},
        {"Origin": "https://127.0.0.1:8765"},
        {"Sec-Fetch-Site": "same-origin"},
        BEARER,
        {"Authorization": "Bearer "},
    ],
    ids=str,
)
def test_our_own_page_and_clients_with_a_bearer_are_answered(app: FastAPI, headers: dict[str, str]) -> None:
    assert ask(app, "POST", CHAT, json=HELLO, headers=headers).status_code == 200


def test_an_origin_that_was_allowed_is_ours_and_no_reply_allows_any_to_read(engine: FakeEngine, keys: KeyStore) -> None:
    app = app_of(engine, keys, ServerSettings(origins=("https://menura.example",)))
    headers = {"Origin": "https://menura.example", "Sec-Fetch-Site": "cross-site"}
    reply = ask(app, "POST", CHAT, json=HELLO, headers=headers)
    assert reply.status_code == 200
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]
    preflight = {**headers, "Access-Control-Request-Method": "POST"}
    asked = ask(app, "OPTIONS", CHAT, headers=preflight)
    assert asked.status_code == 405
    assert not [name for name in asked.headers if name.lower().startswith("access-control")]


def test_another_site_s_page_reads_nothing_but_may_link_here(app: FastAPI) -> None:
    for mode in ("no-cors", "cors", "websocket"):
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode}
        assert ask(app, "GET", "/v1/models", headers=headers).status_code == 403
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(app, "GET", "/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        *("text/plain", "text/plain;charset=utf-8", "application/x-www-form-urlencoded", "multipart/form-data"),
        *("application/jsonx", "text/json", "application/octet-stream", "", "application/json, text/plain"),
    ],
)
def test_json_is_read_as_json_alone(app: FastAPI, engine: FakeEngine, kind: str) -> None:
    reply = ask(app, "POST", CHAT, content=b'{"model": "anna"}', headers=BEARER | {"Content-Type": kind})
    assert (reply.status_code, reply.json()["error"]["code"]) == (415, "unsupported_media_type")
    assert not engine.asked


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8", "Application/JSON"])
def test_json_with_parameters_is_json(app: FastAPI, kind: str) -> None:
    content = b'{"model": "anna", "messages": [{"role": "user", "content": "hi"}]}'
    assert ask(app, "POST", CHAT, content=content, headers=BEARER | {"Content-Type": kind}).status_code == 200


def test_no_form_is_read_where_files_are_taken(app: FastAPI) -> None:
    for kind in ("multipart/form-data; boundary=x", "application/x-www-form-urlencoded"):
        headers = BEARER | {"Content-Type": kind}
        assert ask(app, "POST", "/api/uploads", content=b"x", headers=headers).status_code == 415


def test_every_reply_has_the_headers_that_keep_a_browser_safe(app: FastAPI) -> None:
    for reply in (
        ask(app, "GET", "/healthz"),
        ask(app, "GET", "/nothing"),
        ask(app, "GET", "/healthz", headers={"Host": "evil.test"}),
        ask(app, "POST", CHAT, json=HELLO | {"stream": True}, headers=BEARER),
    ):
        headers = reply.headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "form-action 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
        assert len(headers["X-Request-Id"]) == 32
