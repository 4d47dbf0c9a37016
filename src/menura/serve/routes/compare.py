"""``/api/compare``: one prompt to several models, one stream with a lane for each, a vote, and what votes add up to."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.concurrency import run_in_threadpool

from menura.api import PERSONA, YOU
from menura.corpus.dialogue import Turn
from menura.errors import MenuraError, PeerError
from menura.serve.comparison_results import results_of
from menura.serve.database import comparisons
from menura.serve.database.database import Database
from menura.serve.generation import Begun, Delta, Event, GenerationRequest
from menura.serve.http.caller import caller_of
from menura.serve.ownership import check_model
from menura.serve.routes.event_stream import CLIENT_LEFT, EventStream, first_events, sent, sent_error
from menura.serve.routes.replies import event_bytes
from menura.serve.routes.sampling_body import TURN_CHARACTERS, SamplingBody, TurnBody
from menura.serve.services import services_of

router = APIRouter(prefix="/api/compare", tags=["compare"])
Lanes = Sequence[AsyncGenerator[Event, None]]


class CompareBody(BaseModel):
    """What is said, as one ``prompt`` or as ``turns``, and to which models.

    ``blind`` hides and shuffles their names.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    prompt: str | None = Field(default=None, min_length=1, max_length=TURN_CHARACTERS)
    turns: list[TurnBody] = Field(default=[], max_length=256)
    models: list[Annotated[str, Field(max_length=72)]] = Field(min_length=2, max_length=4)
    blind: bool = True
    system: str = Field(default="", max_length=TURN_CHARACTERS)
    max_new_tokens: int | None = Field(default=None, ge=1)
    sampling: SamplingBody = SamplingBody()

    @model_validator(mode="after")
    def _can_be_compared(self) -> "CompareBody":
        if (self.prompt is None) == (not self.turns):
            raise ValueError("one of prompt and turns wanted")
        if len(set(self.models)) < len(self.models):
            raise ValueError("models: each one once")
        return self


class VoteBody(BaseModel):
    """The number of the best lane, ``tie``, or ``bad`` where all are."""

    model_config = ConfigDict(extra="forbid", strict=True)
    choice: str | int


@router.post("", response_class=EventStream)
async def compare(request: Request, body: CompareBody) -> Response:
    """Send ``compared`` with the id, then the events of all lanes, each with its ``lane``, then ``ended``.

    Names of a blind comparison come after the vote.
    """
    services, caller = services_of(request), caller_of(request)
    for name in body.models:
        await run_in_threadpool(check_model, services, caller, name)
    names = list(body.models)
    if body.blind:
        SystemRandom().shuffle(names)
    turns = [(turn.role, turn.text) for turn in body.turns] or [("user", str(body.prompt))]
    lanes = [services.generate(_request(name, turns, body, caller.key_id)) for name in names]
    first = await first_events(request, lanes)
    if first is None:
        return Response(status_code=CLIENT_LEFT)
    database = services.database
    made = await run_in_threadpool(comparisons.new_comparison, database, caller.key_id, turns, names, blind=body.blind)
    kept = KeptReplies(database, made, names, blind=body.blind)
    return EventStream(_sent(first, lanes, kept), lanes)


@router.get("")
def list_comparisons(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    after: Annotated[str, Query(max_length=32)] = "",
) -> dict[str, Any]:
    """List the caller's comparisons, the latest first."""
    database, owner = services_of(request).database, caller_of(request).key_id
    found = comparisons.page_of_comparisons(database, owner, limit + 1, after)
    following = found[limit - 1].id if len(found) > limit else None
    return {"comparisons": [one.shown() for one in found[:limit]], "next": following}


@router.get("/results")
def results(request: Request, blind: bool = True) -> dict[str, Any]:
    """Return wins and strengths by the caller's votes; with ``blind`` by those alone that were cast without names."""
    database, owner = services_of(request).database, caller_of(request).key_id
    return results_of(comparisons.voted_on(database, owner, blind_only=blind))


@router.get("/{comparison_id}")
def show_comparison(request: Request, comparison_id: str) -> dict[str, Any]:
    """Return a comparison; a blind one has names once there is a vote."""
    database, owner = services_of(request).database, caller_of(request).key_id
    return comparisons.comparison_of(database, owner, comparison_id).shown()


@router.post("/{comparison_id}/vote")
def vote(
    request: Request, comparison_id: str, body: VoteBody, idempotency_key: Annotated[str, Header(max_length=128)] = ""
) -> dict[str, Any]:
    """Keep the vote, the first one for good, and return the comparison with its names."""
    database, owner = services_of(request).database, caller_of(request).key_id
    return comparisons.vote(database, owner, comparison_id, str(body.choice), idempotency_key).shown()


@router.delete("/{comparison_id}", status_code=204)
def delete_comparison(request: Request, comparison_id: str) -> Response:
    """Delete a comparison with its vote; one that is not there is no error."""
    comparisons.delete_comparison(services_of(request).database, caller_of(request).key_id, comparison_id)
    return Response(status_code=204)


@dataclass
class KeptReplies:
    """The replies of all lanes while they are made; ``keep`` stores them once."""

    database: Database
    comparison: str
    names: Sequence[str]
    blind: bool
    texts: list[str] = field(default_factory=list)
    failed: bool = False
    kept: bool = False

    def __post_init__(self) -> None:
        """Begin with empty replies."""
        self.texts = [""] * len(self.names)

    def keep(self, *, finished: bool) -> None:
        """Store them; a comparison of which a lane has failed is none to vote on."""
        if not self.kept:
            self.kept = True
            whole = finished and not self.failed
            comparisons.note_replies(self.database, self.comparison, self.texts, finished=whole)

    def shown(self, lane: int, event: Event | Exception) -> bytes:
        """Return an event of a lane as bytes; a blind one tells nothing that names the model."""
        if isinstance(event, Delta):
            self.texts[lane] += event.text
        if isinstance(event, Exception):
            self.failed = True
            if self.blind and isinstance(event, MenuraError):
                code = event.problems[0].code
                event = PeerError("this model could not reply to its end", code=code)
            return sent_error(event, lane=lane)
        if isinstance(event, Begun) and self.blind:
            return sent("begun", {"lane": lane})
        return event_bytes(event, lane=lane)


async def _sent(firsts: Sequence[Event], lanes: Lanes, kept: KeptReplies) -> AsyncGenerator[bytes, None]:
    pieces: asyncio.Queue[tuple[int, Event | Exception | None]] = asyncio.Queue(maxsize=len(lanes))
    tasks = [asyncio.create_task(_read(lane, events, pieces)) for lane, events in enumerate(lanes)]
    try:
        names = None if kept.blind else list(kept.names)
        yield sent("compared", {"id": kept.comparison, "lanes": len(lanes), "models": names})
        for lane, first in enumerate(firsts):
            yield kept.shown(lane, first)
        running = len(lanes)
        while running:
            lane, event = await pieces.get()
            if event is None:
                running -= 1
            else:
                yield kept.shown(lane, event)
        await run_in_threadpool(kept.keep, finished=True)
        yield sent("ended", {"id": kept.comparison, "finished": not kept.failed})
    finally:
        for task in tasks:
            task.cancel()
        # The client may have left, and then nothing can be awaited any more; one row takes milliseconds.
        kept.keep(finished=False)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


async def _read(
    lane: int, events: AsyncGenerator[Event, None], pieces: "asyncio.Queue[tuple[int, Event | Exception | None]]"
) -> None:
    try:
        async for event in events:
            await pieces.put((lane, event))
    except Exception as error:  # noqa: BLE001  # of one lane; the others go on
        await pieces.put((lane, error))
    await pieces.put((lane, None))


def _request(name: str, turns: Sequence[tuple[str, str]], body: CompareBody, owner: str) -> GenerationRequest:
    said = tuple(Turn(PERSONA if role == "persona" else YOU, text) for role, text in turns)
    return GenerationRequest(
        *(name, said),
        system=body.system,
        max_new_tokens=body.max_new_tokens,
        sampling=body.sampling.chosen(),
        owner=owner,
    )
