"""The bytes of a request as they come in: counted, timed, and no more of them than the limits have."""

import asyncio
import time

from starlette.types import Message, Receive

from menura.errors import RequestError
from menura.serve.http.request_checks import Head
from menura.serve.settings import HttpLimits, ServerSettings

SLOWEST = 64 * 1024  # bytes a second of a file, beyond the time that any body has
DISCARDED = 8 << 20  # bytes of a refused body that are read so that its sender sees the reply
DISCARDED_SECONDS = 2.0


class LimitedBody:
    """``receive`` of a request, with the limits: RequestError ``too_large`` or ``too_slow`` as soon as one is passed.

    ``complete`` is whether the whole body has come in; from then on ``receive`` waits for the client to leave.
    """

    def __init__(self, receive: Receive, head: Head, settings: ServerSettings) -> None:
        self._receive = receive
        self._limit = limit_of(head, settings.http)
        self._seconds = settings.http.body_seconds
        self._is_raw = head.is_raw
        self._began = time.monotonic()
        self._size = 0
        self._announced = head.headers.get("content-length", "0")
        self._checked: bytes | None = None
        self.complete = not head.has_body

    def check_length(self) -> None:
        """Refuse a body that announces itself as too large before anything of it is read."""
        if self._announced.isdigit() and int(self._announced) > self._limit:
            raise self._too_large()

    async def receive(self) -> Message:
        """Return the next message of the request."""
        if self._checked is not None:
            whole, self._checked = self._checked, None
            return {"type": "http.request", "body": whole, "more_body": False}
        if self.complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._left()):
                message = await self._receive()
        except TimeoutError as error:
            raise RequestError("the body came in too slowly", code="too_slow") from error
        self._size += len(message.get("body", b""))
        self.complete = message["type"] != "http.request" or not message.get("more_body", False)
        if self._size > self._limit:
            raise self._too_large()
        return message

    async def whole(self) -> bytes | None:
        """Read all of it, to be received again as one message; None if the client left before the end."""
        parts: list[bytes] = []
        while not self.complete:
            message = await self.receive()
            if message["type"] != "http.request":
                return None
            parts.append(message.get("body", b""))
        self._checked = b"".join(parts)
        return self._checked

    async def discard(self) -> None:
        """Read on for a moment, so that a client that still sends is not cut off before it reads the reply."""
        size = 0
        try:
            async with asyncio.timeout(DISCARDED_SECONDS):
                while not self.complete and size < DISCARDED:
                    message = await self._receive()
                    size += len(message.get("body", b""))
                    self.complete = message["type"] != "http.request" or not message.get("more_body", False)
        except TimeoutError:
            return

    def _left(self) -> float:
        allowed = self._seconds + (self._size / SLOWEST if self._is_raw else 0.0)
        return self._began + allowed - time.monotonic()

    def _too_large(self) -> RequestError:
        return RequestError(f"body larger than {self._limit:,} bytes", code="too_large")


def limit_of(head: Head, limits: HttpLimits) -> int:
    """Return how many bytes a request's body may have."""
    if not head.is_raw:
        return limits.body_bytes
    return limits.paste_bytes if head.content_type == "text/plain" else limits.upload_bytes
