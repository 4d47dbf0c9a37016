"""Facts become the body of a response as soon as they come, or all at once; the client's leaving ends them."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from menura.errors import MenuraError
from menura.serve.http.errors import internal_error, openai_error

LOG = logging.getLogger("menura.serve")
Result = TypeVar("Result")
Facts = Mapping[str, Any]  # one JSON object
DONE = b"data: [DONE]\n\n"
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class ErrorObject(BaseModel):
    """What went wrong: ``code`` is a word that never changes, ``param`` the field of the body."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The body of every reply under ``/v1`` that is an error."""

    error: ErrorObject


ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    "4XX": {"model": ErrorBody, "description": "the request cannot be answered"},
    "5XX": {"model": ErrorBody, "description": "the server cannot answer it now"},
}


async def until_client_leaves(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """Return what ``work`` returns; cancel it, wait for its end and raise ClientDisconnect if the client leaves."""
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_client_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        leaving.result()
        raise ClientDisconnect
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _client_left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventReply(Response):
    """A reply made of the engine's events, whose generator this closes itself, whatever happens (M10)."""

    def __init__(self, events: AsyncGenerator[Any, None]) -> None:
        super().__init__()
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; a client that has left is no error."""
        async with aclosing(self._events) as events:
            try:
                await until_client_leaves(receive, self._answer(events, scope, receive, send))
            except ClientDisconnect:
                return

    async def _answer(self, events: AsyncIterator[Any], scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError


class WholeReply(EventReply):
    """The last object that ``events`` yields, as one JSON body."""

    async def _answer(self, events: AsyncIterator[Facts], scope: Scope, receive: Receive, send: Send) -> None:
        last: Facts = {}
        async for facts in events:
            last = facts
        await Response(orjson.dumps(last), media_type="application/json")(scope, receive, send)


class StreamedReply(EventReply):
    """Each object that ``events`` yields as a server-sent event, then ``[DONE]``.

    What fails before the first object is an error with its status; what fails later is a last event ``{"error": …}``
    without ``[DONE]``, so that nobody takes the reply for finished.
    """

    async def _answer(self, events: AsyncIterator[Facts], scope: Scope, receive: Receive, send: Send) -> None:
        first = await anext(events)
        head = Response(headers=STREAM_HEADERS, media_type="text/event-stream; charset=utf-8").raw_headers
        head = [(name, value) for name, value in head if name != b"content-length"]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await _send_piece(send, _piece(first))
        try:
            async for facts in events:
                await _send_piece(send, _piece(facts))
        except Exception as error:  # noqa: BLE001  # whatever it is, the client must not take the reply for finished
            last = _piece(openai_error(_shown_error(error, scope)))
        else:
            last = DONE
        await send({"type": "http.response.body", "body": last, "more_body": False})


async def _send_piece(send: Send, piece: bytes) -> None:
    await send({"type": "http.response.body", "body": piece, "more_body": True})


def _piece(facts: Facts) -> bytes:
    return b"data: " + orjson.dumps(facts) + b"\n\n"


def _shown_error(error: Exception, scope: Scope) -> MenuraError:
    if isinstance(error, MenuraError):
        return error
    LOG.error("error", exc_info=error, extra={"request_id": scope["state"]["request_id"]})
    return internal_error()
