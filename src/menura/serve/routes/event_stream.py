"""Server-sent events: what happens while a request runs, one event at a time."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from menura.errors import MenuraError, Problem, printable
from menura.serve.generation import Event

CLIENT_LEFT = 499  # the status of an answer that nobody reads
HEARTBEAT = b": nothing new\n\n"  # a comment, which keeps proxies from closing the stream


def sent(name: str, data: Any, number: int | None = None) -> bytes:
    """Return one event as bytes; ``number`` is its id, from which a client goes on."""
    numbered = "" if number is None else f"id: {number}\n"
    # JSON has no line breaks, so that the data is one line whatever the texts in it are.
    return f"{numbered}event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode(errors="replace")


def sent_error(error: Exception, **data: Any) -> bytes:
    """Return the event of an error, after which nothing comes; what no user can act on is told in no words."""
    unexpected = Problem("internal", "an error in Menura itself")
    problem = error.problems[0] if isinstance(error, MenuraError) else unexpected
    facts = {"code": problem.code, "message": printable(problem.message), "hint": problem.hint}
    return sent("error", {**data, "error": facts})


async def first_events(request: Request, sources: Sequence[AsyncGenerator[Event, None]]) -> list[Event] | None:
    """Return the first event of each source; None where the client left before, and then all are closed.

    What a source raises before its first event is raised here, so that it becomes a status; all are closed then, too.
    """
    reading: asyncio.Future[Any] = asyncio.gather(*(anext(source) for source in sources), return_exceptions=True)
    leaving: asyncio.Future[Any] = asyncio.ensure_future(_left(request))
    firsts: list[Event | BaseException] = []
    try:
        await asyncio.wait({reading, leaving}, return_when=asyncio.FIRST_COMPLETED)
        firsts = reading.result() if reading.done() else []
        found = [first for first in firsts if not isinstance(first, BaseException)]
    finally:
        leaving.cancel()
        reading.cancel()
        await asyncio.gather(reading, leaving, return_exceptions=True)
        if not firsts or any(isinstance(first, BaseException) for first in firsts):
            for source in sources:
                await source.aclose()
    for first in firsts:
        if isinstance(first, BaseException):
            raise first
    return found if firsts else None


async def _left(request: Request) -> None:
    """Return once the client has left."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class EventStream(StreamingResponse):
    """A response of events.

    Whatever happens to the request, what the events are made of is closed when it ends, by the task that serves it:
    a client that leaves holds nothing.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        sources: Sequence[AsyncGenerator[Any, None]] = (),
        status_code: int = 200,
    ) -> None:
        super().__init__(events, status_code, {"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._closed_at_end = (events, *sources)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            for source in self._closed_at_end:
                await source.aclose()
