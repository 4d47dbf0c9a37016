"""A connection's bytes become requests, within deadlines: who sends or reads too slowly is cut off.

uvicorn's own protocol on h11 with what it has no setting for: an absolute deadline for the headers of each request, one
for a reader that stops reading, and a cap on the connections of one address.
"""

import asyncio
import sys
from collections import Counter
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import h11
import orjson
from uvicorn.protocols.http.h11_impl import H11Protocol

from menura.errors import RequestError
from menura.serve.http.errors import problem_details
from menura.serve.http.request_checks import is_loopback
from menura.serve.settings import HttpLimits

CODES = {408: "too_slow", 431: "headers_too_large", 429: "rate_limit_exceeded"}


def protocol_with(limits: HttpLimits) -> type[H11Protocol]:
    """Return the class of connections with these limits, for one server."""
    return type("LimitedConnection", (DeadlineProtocol,), {"limits": limits, "counts": Counter()})


class DeadlineProtocol(H11Protocol):
    """One connection. ``counts`` are of open connections by address, shared by all connections of a server."""

    limits = HttpLimits()
    counts: Counter[str] = Counter()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None
        self._reading_deadline: asyncio.TimerHandle | None = None
        self._address = ""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin; refuse an address, or everybody, with too many connections."""
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self.counts[self._address] += 1
        if too_many(self.counts, self._address, self.limits):
            self._refuse(HTTPStatus.TOO_MANY_REQUESTS, "too many connections")
            return
        self._start_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.counts[self._address] -= 1
        if self.counts[self._address] <= 0:
            del self.counts[self._address]
        self._stop_deadline()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes; from the first byte of a request its headers have so many seconds."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on to the next request, of which some may be here already."""
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        """Wait for the client to read, so many seconds."""
        super().pause_writing()
        if self._reading_deadline is None:
            self._reading_deadline = self.loop.call_later(self.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Write on."""
        if self._reading_deadline is not None:
            self._reading_deadline.cancel()
            self._reading_deadline = None
        if self.flow is not None:
            super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; h11 names headers that have no end."""
        too_large = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        hint = getattr(sys.exc_info()[1], "error_status_hint", None)
        self._refuse(too_large if hint == too_large else HTTPStatus.BAD_REQUEST, msg)

    def _watch(self) -> None:
        """Let the deadline run while a request's headers are on their way, and at no other time."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._stop_deadline()
        elif self._deadline is None and self.conn.trailing_data[0]:
            self._start_deadline()

    def _start_deadline(self) -> None:
        self._deadline = self.loop.call_later(self.limits.header_seconds, self._too_slow)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._deadline = None
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, "the headers came in too slowly")

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer without the app and close; in the middle of a reply there is nothing left to say."""
        self._stop_deadline()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not self.transport.is_closing():
            error = RequestError(message, code=CODES.get(status, "invalid_request_error"))
            body = orjson.dumps(problem_details(error))
            self.transport.write(_raw_reply(status, body))
        self.transport.close()


def too_many(counts: Counter[str], address: str, limits: HttpLimits) -> bool:
    """Return whether an address, or all together, have more connections than they may, the newest counted.

    An address of this machine has a share of its own only of all: a proxy has it, and so have all clients behind it.
    """
    over_share = counts[address] > limits.connections_per_address and not is_loopback(address)
    return over_share or counts.total() > limits.connections


def _raw_reply(status: HTTPStatus, body: bytes) -> bytes:
    headers = {
        "Content-Type": "application/problem+json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        "X-Request-Id": uuid4().hex,
        **({"Retry-After": "5"} if status is HTTPStatus.TOO_MANY_REQUESTS else {}),
    }
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body
