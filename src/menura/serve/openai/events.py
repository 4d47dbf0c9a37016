"""Events of the engine become the facts of a reply in OpenAI's form: one body, or chunks."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Protocol
from uuid import uuid4

from menura.serve.collected_reply import CollectedReply
from menura.serve.generation import Event, GenerationRequest
from menura.serve.openai.fields import SamplingFields
from menura.serve.openai.replies import Facts

Generate = Callable[[GenerationRequest], AsyncGenerator[Event, None]]


class ReplyForm(Protocol):
    """What the replies of one route look like: its names, its choices, and what stands beside them.

    ``number`` is that of a request, of which one body may mean several.
    """

    whole_object: ClassVar[str]
    chunk_object: ClassVar[str]
    id_prefix: ClassVar[str]

    def choices(self, replies: Sequence[CollectedReply]) -> list[Facts]:
        """Return the choices of a whole reply."""

    def pieces(self, number: int, event: Event, reply: CollectedReply) -> list[Facts] | None:
        """Return what a chunk has of an event, which the reply has taken; None for no chunk."""

    def last_pieces(self, replies: Sequence[CollectedReply]) -> list[list[Facts]]:
        """Return the choices of each chunk that comes after the events."""

    def beside(self, reply: CollectedReply) -> Facts:
        """Return what stands beside the choices of a whole reply, and of the first chunk."""


class OpenAIReply:
    """The reply to one body, which means one request or several: as one object, or as chunks."""

    def __init__(self, body: SamplingFields, form: ReplyForm, requests: Sequence[GenerationRequest]) -> None:
        self._body, self._form, self._requests = body, form, requests
        self._id, self._created = f"{form.id_prefix}-{uuid4().hex}", int(time.time())
        self._replies = [CollectedReply() for _ in requests]

    async def whole(self, generate: Generate) -> AsyncGenerator[Facts, None]:
        """Yield the one body; all requests run at once, and all end if one fails."""
        try:
            async with asyncio.TaskGroup() as group:
                for reply, request in zip(self._replies, self._requests, strict=True):
                    group.create_task(_collect(reply, generate(request)))
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from group_error
        named = self._named(self._form.whole_object)
        whole = named | {"choices": self._form.choices(self._replies), "usage": self._usage()}
        yield {**whole, **self._form.beside(self._replies[0])}

    async def chunks(self, generate: Generate) -> AsyncGenerator[Facts, None]:
        """Yield the chunks, those of one request after those of the other."""
        for number, (reply, request) in enumerate(zip(self._replies, self._requests, strict=True)):
            async with aclosing(generate(request)) as events:
                async for event in events:
                    first = reply.prompt is None
                    reply.take(event)
                    pieces = self._form.pieces(number, event, reply)
                    if pieces is not None:
                        yield {**self._chunk(pieces), **(self._form.beside(reply) if first else {})}
        for last in self._form.last_pieces(self._replies):
            yield self._chunk(last)
        if self._body.wants_usage:
            yield self._chunk([]) | {"usage": self._usage()}

    def _named(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._body.model}

    def _chunk(self, choices: Sequence[Facts]) -> dict[str, Any]:
        usage = {"usage": None} if self._body.wants_usage else {}
        return self._named(self._form.chunk_object) | {"choices": choices} | usage

    def _usage(self) -> Facts:
        """Return the tokens that were read and generated."""
        begun = [reply.prompt for reply in self._replies if reply.prompt]
        prompt, completion = sum(one.prompt_tokens for one in begun), sum(reply.tokens for reply in self._replies)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": sum(one.cached_tokens for one in begun)},
        }


async def _collect(reply: CollectedReply, events: AsyncGenerator[Event, None]) -> None:
    async with aclosing(events):
        async for event in events:
            reply.take(event)
