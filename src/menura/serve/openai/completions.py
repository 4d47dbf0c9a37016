"""``POST /v1/completions``: raw prompts are continued, or scored token by token."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from menura.errors import RequestError
from menura.serve.generation import Begun, Delta, Engine, Finished, GenerationRequest, TokenLogprob
from menura.serve.http.caller import caller_of
from menura.serve.http.request_checks import is_loopback
from menura.serve.openai.chat import sampling_of, usage_of
from menura.serve.openai.fields import LIMITS, MOST_REPLIES, MOST_TOKENS, SamplingFields, TokenId, Unsupported
from menura.serve.openai.models import model_of
from menura.serve.openai.replies import ERRORS, Facts, StreamedReply, WholeReply, collected
from menura.serve.services import services_of
from menura.serve.settings import ServerSettings

router = APIRouter(tags=["openai"], responses=ERRORS)
DEFAULT_TOKENS = 16  # OpenAI's
Text = Annotated[str, Field(max_length=LIMITS.body_bytes)]
Ids = Annotated[list[TokenId], Field(min_length=1)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MOST_REPLIES)]
ManyIds = Annotated[list[Ids], Field(min_length=1, max_length=MOST_REPLIES)]


class CompletionBody(SamplingFields):
    """What a client sends to have raw prompts continued. With ``echo``, prompts come back too, with log-probabilities.

    ``max_tokens`` 0 is for ``echo`` alone: nothing is generated.
    """

    prompt: Text | Texts | Ids | ManyIds
    echo: bool | None = None
    max_tokens: Annotated[int, Field(ge=0, le=MOST_TOKENS)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=LIMITS.top_logprobs)] | None = None
    best_of: Annotated[int, Field(ge=1, le=MOST_REPLIES)] | None = None
    suffix: Unsupported = None

    @model_validator(mode="after")
    def _asks_for_one_thing(self) -> "CompletionBody":
        if self.best_of not in (None, self.n or 1):
            raise PydanticCustomError("value_error", "best_of other than n is not supported")
        if self.max_tokens == 0 and not self.echo:
            raise PydanticCustomError("value_error", "max_tokens: 0 needs echo: true")
        if len(self.prompts) * (self.n or 1) > MOST_REPLIES:
            raise PydanticCustomError("value_error", "prompts times n is more than 32")
        return self

    @property
    def prompts(self) -> list[str | tuple[int, ...]]:
        """Each prompt, as text or as token ids."""
        given = self.prompt
        if isinstance(given, str):
            return [given]
        if isinstance(given[0], int):
            return [tuple(one for one in given if isinstance(one, int))]
        return [tuple(one) if isinstance(one, list) else one for one in given if not isinstance(one, int)]


@router.post("/v1/completions")
async def completions(request: Request, body: CompletionBody) -> Response:
    """Continue raw prompts, texts or token ids. Off where other machines can ask, unless the server is told."""
    services, caller = services_of(request), caller_of(request)
    if not allows_raw_prompts(services.settings):
        raise RequestError("raw prompts are off", code="not_found", hint="menura serve --raw-prompts")
    model_of(services, caller, body.model)
    asked = [_generation(body, prompt, owner=caller.key_id) for prompt in body.prompts]
    completion = _Completion(body)
    if body.stream:
        return StreamedReply(completion.chunks(services.engine, asked))
    return WholeReply(completion.whole(services.engine, asked))


def allows_raw_prompts(settings: ServerSettings) -> bool:
    """Return whether ``/v1/completions`` is on: as the settings say, else on a loopback address alone."""
    return is_loopback(settings.host) if settings.raw_prompts is None else settings.raw_prompts


def _generation(body: CompletionBody, prompt: str | tuple[int, ...], *, owner: str) -> GenerationRequest:
    tokens = DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
    # Who scores a prompt leaves out the last token, which is the one generated; so there must be one.
    scored = 1 if body.echo and body.logprobs is not None else 0
    least = min(tokens, max(scored, body.min_tokens or 0))
    return GenerationRequest(
        body.model,
        prompt=prompt,
        echo=bool(body.echo),
        count=body.n or 1,
        max_new_tokens=tokens,
        min_new_tokens=least,
        sampling=sampling_of(body),
        stop=body.stops,
        top_logprobs=body.logprobs,
        owner=owner,
    )


@dataclass
class _Continuation:
    """One continuation as far as it has come."""

    text: str = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)
    reason: str | None = None
    tokens: int = 0


class _Completion:
    """One request's reply: choices of the first prompt, then those of the next."""

    def __init__(self, body: CompletionBody) -> None:
        self._body = body
        self._id, self._created = f"cmpl-{uuid4().hex}", int(time.time())
        self._each = body.n or 1
        self._begun: list[Begun] = []
        self._found = [_Continuation() for _ in range(self._each * len(body.prompts))]

    async def whole(self, engine: Engine, asked: Sequence[GenerationRequest]) -> AsyncGenerator[Facts, None]:
        """Yield the one body; all prompts run at once, and all end if one fails."""
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(collected(engine.generate(one))) for one in asked]
        except ExceptionGroup as group_error:
            raise group_error.exceptions[0] from group_error
        for number, task in enumerate(running):
            for event in task.result():
                self._take(number, event)
        choices = [self._choice(index, one, one.logprobs, 0) for index, one in enumerate(self._found)]
        yield self._head() | {"choices": choices, "usage": self._usage()}

    async def chunks(self, engine: Engine, asked: Sequence[GenerationRequest]) -> AsyncGenerator[Facts, None]:
        """Yield the chunks, one prompt after the other."""
        usage = {"usage": None} if self._body.wants_usage else {}
        for number, one in enumerate(asked):
            async with aclosing(engine.generate(one)) as events:
                async for event in events:
                    piece = self._take(number, event)
                    if piece:
                        yield self._head() | {"choices": [piece]} | usage
        if self._body.wants_usage:
            yield self._head() | {"choices": [], "usage": self._usage()}

    def _take(self, number: int, event: object) -> Facts | None:
        """Add an event of the ``number``-th prompt; return the choice that a chunk tells of it."""
        if isinstance(event, Begun):
            self._begun.append(event)
        elif isinstance(event, Delta):
            index = number * self._each + event.index
            found = self._found[index]
            offset = sum(len(token.text) for token in found.logprobs)
            found.text += event.text
            found.logprobs += event.logprobs
            return self._choice(index, _Continuation(event.text), event.logprobs, offset)
        elif isinstance(event, Finished):
            index = number * self._each + event.index
            found = self._found[index]
            found.reason, found.tokens = event.reason, event.tokens
            return self._choice(index, replace(found, text=""), (), 0)
        return None

    def _choice(self, index: int, one: _Continuation, tokens: Sequence[TokenLogprob], offset: int) -> Facts:
        logprobs = None if self._body.logprobs is None else _legacy_logprobs(tokens, offset)
        return {"index": index, "text": one.text, "finish_reason": one.reason, "logprobs": logprobs}

    def _head(self) -> dict[str, Any]:
        named = {"object": "text_completion", "created": self._created, "model": self._body.model}
        return {"id": self._id} | named

    def _usage(self) -> Facts:
        return usage_of(self._begun, sum(one.tokens for one in self._found))


def _legacy_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> Facts:
    """Return log-probabilities as ``/v1/completions`` has them: lists by token, None for a prompt's first."""
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [None if token.logprob is None else _top(token) for token in tokens],
        "text_offset": offsets,
    }


def _top(token: TokenLogprob) -> dict[str, float]:
    """Return the likeliest by text, the token's own among them; of two of one text the likelier stands."""
    assert token.logprob is not None
    top: dict[str, float] = {}
    for text, logprob in (*token.top, (token.text, token.logprob)):
        top[text] = max(logprob, top.get(text, logprob))
    return top
