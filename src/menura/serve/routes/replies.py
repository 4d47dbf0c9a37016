"""``/api/chats/{id}/reply``: the persona replies in a chat, as a stream, and the reply is kept."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from menura.api import PERSONA, YOU
from menura.corpus.dialogue import Turn
from menura.errors import DataError
from menura.serve.collected_reply import CollectedReply
from menura.serve.database import chats
from menura.serve.database.database import Database
from menura.serve.generation import Begun, Delta, Event, Finished, GenerationRequest, Ranked
from menura.serve.http.caller import caller_of
from menura.serve.ownership import check_model
from menura.serve.routes.event_stream import CLIENT_LEFT, EventStream, first_events, sent, sent_error
from menura.serve.routes.sampling_body import TURN_CHARACTERS, SamplingBody
from menura.serve.sampling_fields import Count
from menura.serve.services import Services, services_of

router = APIRouter(prefix="/api/chats", tags=["chats"])


class ReplyBody(BaseModel):
    """What is said to the persona, and how it replies.

    Without ``text`` it replies to the messages that are there. ``candidates`` replies are made and the best is kept.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    text: str | None = Field(default=None, min_length=1, max_length=TURN_CHARACTERS)
    candidates: Count = 1
    system: str = Field(default="", max_length=TURN_CHARACTERS)
    max_new_tokens: int | None = Field(default=None, ge=1)
    memory_tokens: int | None = Field(default=None, ge=0)
    persona: str | None = Field(
        default=None, max_length=72
    )  # another model for this reply alone, the base for instance
    sampling: SamplingBody = SamplingBody()


@router.post("/{chat_id}/reply", response_class=EventStream)
async def reply(request: Request, chat_id: str, body: ReplyBody) -> Response:
    """Send ``begun``, ``delta``, ``finished`` and ``ranked`` events, then ``stored`` with the message as it is kept.

    What the person says is kept before anything else, and of a stream that is cut short what was sent.
    """
    services, owner = services_of(request), caller_of(request).key_id
    chat = await run_in_threadpool(chats.chat_of, services.database, owner, chat_id)
    model = body.persona or chat["persona"]
    await run_in_threadpool(check_model, services, caller_of(request), model)
    if body.text is not None:
        said = chats.NewMessage("user", body.text)
        await run_in_threadpool(chats.add_message, services.database, owner, chat_id, said)
    messages = await run_in_threadpool(chats.messages_of, services.database, owner, chat_id)
    events = services.generate(_request(services, model, messages, body, owner))
    first = await first_events(request, [events])
    if first is None:
        return Response(status_code=CLIENT_LEFT)
    kept = KeptReply(services.database, owner, chat_id)
    return EventStream(_sent(first[0], events, kept), [events])


@dataclass
class KeptReply:
    """A reply while it is made; ``keep`` stores it once."""

    database: Database
    owner: str
    chat: str
    reply: CollectedReply = field(default_factory=CollectedReply)
    kept: bool = False

    def keep(self, *, finished: bool) -> dict[str, Any] | None:
        """Store the reply and return the message; None where there is nothing, or it was stored before."""
        reply = self.reply
        candidates = [reply.choices[index].text for index in sorted(reply.choices)]
        if self.kept or not (finished or any(candidates)):
            return None
        self.kept = True
        read = reply.prompt or Begun("", 0, 0)
        scores = reply.ranked.scores if reply.ranked else ()
        shown = reply.choices[reply.best].text
        several = candidates if len(candidates) > 1 else ()
        message = chats.NewMessage("persona", shown, several, scores, read.recalled, finished, read.version)
        return chats.add_message(self.database, self.owner, self.chat, message)


def _request(
    services: Services, model: str, messages: Sequence[dict[str, Any]], body: ReplyBody, owner: str
) -> GenerationRequest:
    last = messages[-services.settings.http.messages :]
    turns = tuple(Turn(PERSONA if one["role"] == "persona" else YOU, one["text"]) for one in last if one["text"])
    if not turns:
        raise DataError("the chat has no message to reply to", hint='say something: "text"', code="empty")
    return GenerationRequest(
        model,
        turns,
        system=body.system,
        count=body.candidates,
        max_new_tokens=body.max_new_tokens,
        sampling=body.sampling.chosen(),
        memory_tokens=body.memory_tokens,
        ranked=body.candidates > 1,
        owner=owner,
    )


async def _sent(first: Event, events: AsyncGenerator[Event, None], kept: KeptReply) -> AsyncGenerator[bytes, None]:
    event: Event | None = first
    try:
        while event is not None:
            kept.reply.take(event)
            yield event_bytes(event)
            event = await anext(events, None)
        message = await run_in_threadpool(kept.keep, finished=True)
        yield sent("stored", {"message": message})
    except Exception as error:  # noqa: BLE001  # the status was sent already, so that an event must tell
        message = await run_in_threadpool(kept.keep, finished=False)
        yield sent_error(error, message=message)
    finally:
        # The client has left. Nothing can be awaited any more, and one row takes milliseconds.
        kept.keep(finished=False)


def event_bytes(event: Event, **data: Any) -> bytes:
    """Return an event of the engine as one of the stream, with further data."""
    match event:
        case Begun():
            begun: dict[str, Any] = {"model": event.model, "version": event.version, "notes": list(event.notes)}
            begun |= {"prompt_tokens": event.prompt_tokens, "cached_tokens": event.cached_tokens}
            begun["recalled"] = [list(pair) for pair in event.recalled]
            return sent("begun", {**data, **begun})
        case Delta():
            return sent("delta", {**data, "index": event.index, "text": event.text})
        case Finished():
            return sent("finished", {**data, "index": event.index, "reason": event.reason, "tokens": event.tokens})
        case Ranked():
            return sent("ranked", {**data, "scores": list(event.scores), "best": event.best})
