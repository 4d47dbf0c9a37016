"""Over a socket: who calls the server by a name that is none of its own reaches nothing (S3)."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from foreign_hosts import NOT_OURS, OURS
from local_server import raw, serving

USUAL = "8765"
REFUSED = (400, 421)


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with serving(app) as (found, _):
        yield found


def answer(url: str, target: str, *hosts: str, more: str = "", version: str = "1.1") -> int:
    """Return the status of the reply to a request with these Host lines; 0 for none."""
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    head = f"GET {target} HTTP/{version}\r\n{lines}{more}Connection: close\r\n\r\n"
    reply = raw(url, head.encode("latin-1"))
    return int(reply.split(b" ", 2)[1]) if reply.startswith(b"HTTP/1.1 ") else 0


def test_the_server_s_own_names_are_answered_over_a_socket(url: str) -> None:
    port = url.rpartition(":")[2]
    assert [answer(url, "/v1/models", host.replace(USUAL, port)) for host in OURS] == [200] * len(OURS)


def test_no_other_host_is_answered_over_a_socket(url: str) -> None:
    port = url.rpartition(":")[2]
    for host in NOT_OURS:
        named = host.replace(USUAL, port)
        if named.strip() in (f"127.0.0.1:{port}", ""):  # what stands around a field's value is no part of it in HTTP
            continue
        for more in ("", f"X-Forwarded-Host: 127.0.0.1:{port}\r\nForwarded: host=127.0.0.1:{port}\r\n"):
            assert answer(url, "/v1/models", named, more=more) in REFUSED, named


def test_no_host_two_hosts_and_a_host_in_the_line_are_refused(url: str) -> None:
    ours = url.removeprefix("http://")
    for target, hosts, version in (
        ("/v1/models", [], "1.1"),
        ("/v1/models", [], "1.0"),
        ("/v1/models", [""], "1.1"),
        ("/v1/models", [ours, ours], "1.1"),
        ("/v1/models", [ours, "evil.test"], "1.1"),
        ("/v1/models", ["evil.test", ours], "1.1"),
        ("http://evil.test/v1/models", [ours], "1.1"),
        (f"http://{ours}@evil.test/v1/models", [ours], "1.1"),
        (f"http://{ours}/v1/models", ["evil.test"], "1.1"),
        (f"//{ours}/v1/models", ["evil.test"], "1.1"),
        ("/v1/models", [f"{ours}\x00"], "1.1"),
        ("/v1/models", [f"{ours}\r\n evil.test"], "1.1"),
    ):
        assert answer(url, target, *hosts, version=version) in REFUSED, (target, hosts, version)
