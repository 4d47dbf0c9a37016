"""Server-sent events: what happens while a request runs, one event at a time."""

import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from menura.errors import MenuraError, Problem, printable

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
    told = {"code": problem.code, "message": printable(problem.message), "hint": problem.hint}
    return sent("error", {**data, "error": told})


class EventStream(StreamingResponse):
    """A response of events.

    Whatever happens to the request, what the events are made of is closed when it ends, by the task that serves it:
    a client that leaves holds nothing.
    """

    def __init__(self, events: AsyncGenerator[bytes, None], sources: Sequence[AsyncGenerator[Any, None]] = ()) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, headers=headers, media_type="text/event-stream")
        self._closed_at_end = (events, *sources)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            for source in self._closed_at_end:
                await source.aclose()
