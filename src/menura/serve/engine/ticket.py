"""A request on its way through the engine, and the way of its events back to the event loop that waits for them."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import NamedTuple

from menura.serve.engine.prompts import Prompt
from menura.serve.engine.residents import Resident
from menura.serve.generation import Event, GenerationRequest


class PreparedTicket(NamedTuple):
    """Who is to reply, and what is read before."""

    resident: Resident
    prompt: Prompt


@dataclass(eq=False)
class Ticket:
    """One request. The engine's threads give events and, at the end, None or an error; the event loop takes them."""

    request: GenerationRequest
    loop: asyncio.AbstractEventLoop
    entered: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    ended: bool = False
    resident: Resident | None = None
    prompt: Prompt | None = None
    _events: "asyncio.Queue[Event | Exception | None]" = field(default_factory=asyncio.Queue)

    def give(self, *events: Event) -> None:
        """Send events; those of a ticket that has ended are dropped."""
        if not self.ended and events:
            self._send(*events)

    def end(self, error: Exception | None = None) -> None:
        """Send the end, or the error that is the end; a second one is dropped."""
        if not self.ended:
            self._send(error)
            self.ended = True

    def _send(self, *sent: Event | Exception | None) -> None:
        try:
            self.loop.call_soon_threadsafe(self._put, sent)
        except RuntimeError:  # the loop was closed: nobody waits any more
            self.cancelled = True

    def _put(self, sent: tuple[Event | Exception | None, ...]) -> None:
        for one in sent:
            self._events.put_nowait(one)

    async def next(self) -> Event | None:
        """Return the next event, None at the end; raises the error that was the end."""
        event = await self._events.get()
        if isinstance(event, Exception):
            raise event
        return event


def prepared(ticket: Ticket) -> PreparedTicket:
    """Return what a ticket got before it waited."""
    assert ticket.resident is not None, "what waits was prepared"
    assert ticket.prompt is not None, "what waits was prepared"
    return PreparedTicket(ticket.resident, ticket.prompt)
