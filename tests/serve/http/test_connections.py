"""A server on a port: who is slow, too many or no HTTP at all is cut off, and all others go on."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fake_engine import FakeEngine
from local_server import BEARER, HELLO, app_of, eventually, raw, serving

import menura
from menura.cli.main import run
from menura.errors import ConfigError
from menura.serve.http.keys import KeyStore
from menura.serve.http.protocol import too_many
from menura.serve.server import bound, check_keys, listening_line
from menura.serve.settings import HttpLimits, ServerSettings

CHAT = "/v1/chat/completions"
QUICK = replace(HttpLimits(), header_seconds=0.4, body_seconds=0.4, write_seconds=0.4, connections=8)


@pytest.fixture
def quick(engine: FakeEngine, keys: KeyStore) -> Iterator[str]:
    """Serve with limits of less than a second."""
    app = app_of(engine, keys, ServerSettings(http=QUICK))
    with serving(app) as (url, _):
        yield url


def head(url: str, line: str = f"POST {CHAT} HTTP/1.1", *fields: str) -> bytes:
    """Return the head of a request, with its end."""
    host = url.removeprefix("http://")
    return "\r\n".join([line, f"Host: {host}", "Authorization: Bearer x", *fields, "", ""]).encode()


def status(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.1 ") else 0


def test_headers_that_trickle_in_are_cut_off_though_bytes_keep_coming(quick: str) -> None:
    host, port = quick.removeprefix("http://").split(":")
    began = time.monotonic()
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        got = b""
        while not got and time.monotonic() - began < 4:
            time.sleep(0.05)
            try:
                connection.sendall(b"X: y\r\n")
                connection.settimeout(0.01)
                got = connection.recv(65536)
            except TimeoutError:
                continue
        assert status(got) == 408
    assert time.monotonic() - began < 3
    assert httpx.get(f"{quick}/healthz").status_code == 200


def test_a_connection_that_says_nothing_is_closed(quick: str) -> None:
    assert status(raw(quick, b"", seconds=4)) == 408


def test_a_second_request_on_a_connection_has_a_deadline_of_its_own(quick: str) -> None:
    got = raw(quick, head(quick, "GET /healthz HTTP/1.1") + b"GET /healthz HT", seconds=4)
    assert got.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 408 " in got


def test_a_body_that_trickles_in_is_cut_off(quick: str, engine: FakeEngine) -> None:
    sent = head(quick, f"POST {CHAT} HTTP/1.1", "Content-Type: application/json", "Content-Length: 100") + b'{"a'
    got = raw(quick, sent, seconds=5)
    assert status(got) == 408
    assert b'"too_slow"' in got
    assert not engine.asked


def test_a_client_that_stops_reading_is_cut_off_and_its_reply_ends(engine: FakeEngine, quick: str) -> None:
    engine.reply = " ".join(["x" * 60_000] * 400)
    host, port = quick.removeprefix("http://").split(":")
    body = b'{"model": "anna", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
    fields = ("Content-Type: application/json", f"Content-Length: {len(body)}")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((host, int(port)))
        connection.sendall(head(quick, f"POST {CHAT} HTTP/1.1", *fields) + body)
        assert eventually(lambda: engine.cancelled == 1)
    assert engine.running == 0


def test_there_are_so_many_connections_and_no_more(quick: str) -> None:
    host, port = quick.removeprefix("http://").split(":")
    held = [socket.create_connection((host, int(port))) for _ in range(8)]
    try:
        assert eventually(lambda: status(raw(quick, head(quick, "GET /healthz HTTP/1.1", "Connection: close"))) == 429)
    finally:
        for connection in held:
            connection.close()
    assert eventually(lambda: status(raw(quick, head(quick, "GET /healthz HTTP/1.1", "Connection: close"))) == 200)


@pytest.mark.parametrize(("address", "refused"), [("203.0.113.7", True), ("127.0.0.1", False), ("::1", False)])
def test_an_address_has_a_share_of_them_but_a_proxy_on_this_machine_has_all(address: str, *, refused: bool) -> None:
    limits = replace(HttpLimits(), connections_per_address=2, connections=5)
    assert not too_many(Counter({address: 2}), address, limits)
    assert too_many(Counter({address: 3}), address, limits) == refused
    assert too_many(Counter({address: 2, "198.51.100.1": 4}), address, limits)


def requests(url: str) -> Iterator[tuple[str, bytes]]:
    """Yield what is no proper request, or could be two to a proxy."""
    chat = f"POST {CHAT} HTTP/1.1"
    json = "Content-Type: application/json"
    get = "GET /healthz HTTP/1.1"
    yield "both lengths", head(url, chat, json, "Content-Length: 2", "Transfer-Encoding: chunked") + b"0\r\n\r\n"
    yield "two lengths", head(url, chat, json, "Content-Length: 2", "Content-Length: 3") + b"{}"
    yield "odd lengths", head(url, chat, json, "Content-Length: 2, 3") + b"{}"
    for length in ("-1", "+2", "0x2", "2 ", "1e1", "2;", "²"):
        yield f"length {length}", head(url, chat, json, f"Content-Length: {length}x"[:-1] + "_") + b"{}"
    for coding in ("gzip, chunked", "chunked, gzip", "identity", "xchunked", "chunked;q=1"):
        yield f"coding {coding}", head(url, chat, json, f"Transfer-Encoding: {coding}") + b"0\r\n\r\n"
    yield "chunk size", head(url, chat, json, "Transfer-Encoding: chunked") + b"zz\r\n{}\r\n0\r\n\r\n"
    yield "folded header", head(url, get, "X: a\r\n\tb")[:-2] + b"Content-Length: 1\r\n :x\r\n\r\n"
    yield "space before colon", head(url, get, "X : a")
    yield "no colon", head(url, get, "nonsense")
    yield "NUL in a header", head(url, get, "X: a\0b")
    yield "NUL in the path", head(url, "GET /\0healthz HTTP/1.1")
    yield "a line feed in the path", head(url, "GET /a\nb HTTP/1.1")
    yield "bytes in the path", head(url, "GET /x HTTP/1.1").replace(b"/x", b"/\xff\xfe")
    yield "broken text in the path", head(url, "GET /%ff HTTP/1.1")
    yield "another host in the target", head(url, "GET http://evil.test/healthz HTTP/1.1")
    yield "the own host in the target", head(url, f"GET {url}/healthz HTTP/1.1")
    yield "no method", head(url, " /healthz HTTP/1.1")
    yield "no version", head(url, "GET /healthz")
    yield "version 2", head(url, "GET /healthz HTTP/2.0")
    yield "connect", head(url, "CONNECT evil.test:443 HTTP/1.1")
    yield "star", head(url, "OPTIONS * HTTP/1.1")
    yield "no host", b"GET /healthz HTTP/1.1\r\n\r\n"
    yield "two hosts", head(url, get, "Host: evil.test")
    yield "a long URL", head(url, f"GET /{'x' * 65_536} HTTP/1.1")
    yield "long headers", head(url, get, *(f"X-{n}: {'x' * 1_000}" for n in range(60)))
    yield "headers without an end", head(url, get, *(f"X-{n}: {'x' * 1_000}" for n in range(60)))[:-2]
    yield "many headers", head(url, get, *(f"X-{n}: x" for n in range(200)))
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 64 + b"\r\n\r\n"
    yield "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    yield "nonsense", b"\r\n\r\n\r\n" + b"nonsense\r\n\r\n"
    yield "a web socket", head(url, "GET /v1/models/none HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade, close")


def test_what_is_no_proper_http_is_refused_and_the_next_client_answered(quick: str, engine: FakeEngine) -> None:
    for what, sent in requests(quick):
        last = sent.replace(b"Authorization: Bearer x", b"Authorization: Bearer x\r\nConnection: close", 1)
        got = raw(quick, last, seconds=3)
        assert 400 <= status(got) < 500, (what, got[:200])
        assert b"x-request-id" in got.lower(), what
    assert not engine.asked
    assert httpx.get(f"{quick}/healthz").status_code == 200


def test_two_requests_sent_at_once_are_answered_in_turn(quick: str) -> None:
    both = head(quick, "GET /healthz HTTP/1.1") + head(quick, "GET /v1/models HTTP/1.1", "Connection: close")
    got = raw(quick, both)
    assert got.count(b"HTTP/1.1 200 ") == 2
    assert got.index(b'"ok"') < got.index(b'"list"')


def test_a_large_body_is_refused_before_it_is_sent_and_its_sender_hears_so(quick: str) -> None:
    reply = httpx.post(
        f"{quick}{CHAT}", content=b" " * 3_000_000, headers=BEARER | {"Content-Type": "application/json"}
    )
    assert reply.status_code == 413
    chunked = (b" " * 65_536 for _ in range(40))
    reply = httpx.post(f"{quick}{CHAT}", content=chunked, headers=BEARER | {"Content-Type": "application/json"})
    assert reply.status_code == 413


def test_running_streams_finish_while_new_requests_are_told_to_come_later(engine: FakeEngine, keys: KeyStore) -> None:
    engine.delay = 0.3
    app = app_of(engine, keys, ServerSettings(drain_seconds=20))
    with serving(app) as (url, server):
        found: list[str] = []

        def stream() -> None:
            found.append(httpx.post(f"{url}{CHAT}", json=HELLO | {"stream": True}, headers=BEARER, timeout=20).text)

        threads = [threading.Thread(target=stream) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert eventually(lambda: engine.running == 4)
        server.drain()
        refused = httpx.post(f"{url}{CHAT}", json=HELLO, headers=BEARER)
        assert refused.status_code == 503
        assert "Retry-After" in refused.headers
        for thread in threads:
            thread.join(20)
        assert len(found) == 4
        assert all(text.endswith("data: [DONE]\n\n") for text in found)
        assert eventually(lambda: server.should_exit)


SERVER = """
import sys
sys.path[:0] = {paths!r}
from fake_engine import FakeEngine
import menura.serve.server as server
from menura.serve.settings import ServerSettings
server.BatchingEngine = lambda settings: FakeEngine(delay=0.2)
server.run(ServerSettings(port=0), lambda line: print(line, flush=True))
"""


def test_a_signal_ends_the_process_without_an_error_when_its_streams_are_done(tmp_path: Path) -> None:
    paths = [str(Path(menura.__file__).parents[1]), str(Path(__file__).parents[1])]
    code = SERVER.format(paths=paths)
    environment = os.environ | {"MENURA_HOME": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("menura 0.1   http://127.0.0.1:")
        assert line.endswith("/v1   personas 2   (Ctrl-C stops)\n")
        url = line.split()[2]
        with httpx.stream("POST", f"{url}{CHAT}", json=HELLO | {"stream": True}, headers=BEARER) as reply:
            pieces = reply.iter_text()
            next(pieces)
            process.send_signal(signal.SIGTERM)
            assert "".join(pieces).endswith("data: [DONE]\n\n")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "::", "", "192.168.1.5", "10.0.0.1", "169.254.1.1", "8.8.8.8", "fe80::1", "2001:db8::1"),
        *("menura.example", "localhost.evil", "0", "::ffff:127.0.0.1", "127.1"),
    ],
)
def test_off_loopback_the_server_does_not_start_without_a_key(
    empty_workspace: Path, capsys: pytest.CaptureFixture[str], host: str
) -> None:
    assert run(["serve", "--host", host, "--port", "0"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error[config]: --host {host!r}: other machines reach it, and there is no key")
    assert told.endswith("(hint: menura key new NAME)\n")
    assert not (empty_workspace / "bases").exists()  # it was told before the default base was fetched


def test_off_loopback_it_starts_with_a_key(empty_workspace: Path) -> None:
    keys = KeyStore()
    keys.new("laptop")
    check_keys(ServerSettings(host="0.0.0.0"), keys)


def test_a_port_in_use_is_told(engine: FakeEngine) -> None:
    with bound(ServerSettings(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: Address already in use"):
            bound(ServerSettings(port=port))
        assert listening_line(first, engine).split()[2] == f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("size", ["2", "GiB", "-1GiB", "2 gigs", "", "1e9B"])
def test_a_size_that_is_none_is_told(capsys: pytest.CaptureFixture[str], size: str) -> None:
    assert run(["serve", "--resident", size]) == 2
    assert "--resident 2GiB" in capsys.readouterr().err
