"""``POST /v1/chat/completions``: a chat becomes a reply, or several."""

import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, cast
from uuid import uuid4

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from menura.serve.generation import Begun, Delta, Engine, Finished, GenerationRequest, Ranked, Sampling, TokenLogprob
from menura.serve.http.caller import caller_of
from menura.serve.openai.chat_body import ChatCompletionBody, Extras
from menura.serve.openai.fields import SamplingFields
from menura.serve.openai.models import model_of
from menura.serve.openai.replies import ERRORS, Facts, StreamedReply, WholeReply
from menura.serve.services import services_of

router = APIRouter(tags=["openai"], responses=ERRORS)
SMALLEST_TOP_P = 1e-6  # for 0, which other servers read as: the likeliest token alone
NO_LOGPROB = -9999.0  # OpenAI's own number for none
SIDE_NOTE = "a front end's own question about the chat: answered by {base}, without the persona"


@router.post("/v1/chat/completions")
async def chat_completions(request: Request, body: ChatCompletionBody) -> Response:
    """Reply to a chat as a persona or a base, at once or as a stream of server-sent events."""
    services, caller = services_of(request), caller_of(request)
    model = model_of(services, caller, body.model)
    asked = _generation(body, owner=caller.key_id)
    notes: tuple[str, ...] = ()
    if model.parent and body.is_side_request:
        asked = replace(asked, model=model.parent)
        notes = (SIDE_NOTE.format(base=model.parent),)
    chat = _ChatReply(body, notes)
    if body.stream:
        return StreamedReply(chat.chunks(services.engine, asked))
    return WholeReply(chat.whole(services.engine, asked))


def sampling_of(body: SamplingFields, extras: Extras | None = None) -> Sampling:
    """Return how tokens are chosen; what ``extras`` say goes before the fields of the same names."""
    fields, usual = extras or Extras(), Sampling()
    top_p = _first(body.top_p, usual.top_p)
    return Sampling(
        temperature=_first(body.temperature, usual.temperature),
        top_p=max(top_p, SMALLEST_TOP_P),
        top_k=int(_first(fields.top_k, body.top_k, usual.top_k)),
        min_p=_first(fields.min_p, body.min_p, usual.min_p),
        presence_penalty=_first(body.presence_penalty, usual.presence_penalty),
        frequency_penalty=_first(body.frequency_penalty, usual.frequency_penalty),
        repetition_penalty=_first(fields.repetition_penalty, body.repetition_penalty, usual.repetition_penalty),
        logit_bias={int(token): bias for token, bias in (body.logit_bias or {}).items()},
        seed=body.seed,
    )


def usage_of(prompts: Sequence[Begun], completion_tokens: int) -> Facts:
    """Return the tokens that were read and generated."""
    prompt = sum(one.prompt_tokens for one in prompts)
    cached = sum(one.cached_tokens for one in prompts)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def _first(*values: float | None) -> float:
    return next(value for value in values if value is not None)


def _generation(body: ChatCompletionBody, *, owner: str) -> GenerationRequest:
    return GenerationRequest(
        body.model,
        body.turns,
        body.system,
        count=body.count,
        max_new_tokens=body.max_new_tokens,
        min_new_tokens=body.min_tokens or 0,
        sampling=sampling_of(body, body.extras),
        stop=body.stops,
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        memory_tokens=body.extras.memory_tokens,
        ranked=body.keeps_best or body.returns_scores,
        owner=owner,
    )


@dataclass
class _DrawnReply:
    """One reply as far as it has come."""

    text: str = ""
    logprobs: list[Facts] = field(default_factory=list)
    reason: str | None = None
    tokens: int = 0


class _ChatReply:
    """One request's reply: what all of its chunks share, and what has come of each choice."""

    def __init__(self, body: ChatCompletionBody, notes: tuple[str, ...]) -> None:
        self._body, self._notes = body, notes
        self._id, self._created = f"chatcmpl-{uuid4().hex}", int(time.time())
        self._drawn: dict[int, _DrawnReply] = defaultdict(_DrawnReply)
        self._begun: Begun | None = None
        self._ranked: Ranked | None = None

    async def whole(self, engine: Engine, asked: GenerationRequest) -> AsyncGenerator[Facts, None]:
        """Yield the one body."""
        async with aclosing(engine.generate(asked)) as events:
            async for event in events:
                self._take(event)
        yield self._head("chat.completion") | {
            "choices": self._choices(),
            "usage": self._usage(),
            "menura": self._said_of_it(),
        }

    async def chunks(self, engine: Engine, asked: GenerationRequest) -> AsyncGenerator[Facts, None]:
        """Yield the chunks; of replies of which the best is given, all of it in one."""
        async with aclosing(engine.generate(asked)) as events:
            async for event in events:
                self._take(event)
                if isinstance(event, Begun):
                    count = 1 if self._body.keeps_best else asked.count
                    roles = [_chunk_choice(index, {"role": "assistant", "content": ""}) for index in range(count)]
                    yield self._chunk(roles) | {"menura": self._said_of_it()}
                elif not self._body.keeps_best:
                    yield self._chunk(self._pieces(event))
        if self._body.keeps_best:
            best = self._drawn[self._best]
            yield self._chunk([_chunk_choice(0, {"content": best.text}, self._logprobs(best.logprobs))])
            yield self._chunk([_chunk_choice(0, {}, reason=best.reason)])
        if self._body.wants_usage:
            yield self._chunk([]) | {"usage": self._usage()}

    def _take(self, event: object) -> None:
        if isinstance(event, Begun):
            self._begun = event
        elif isinstance(event, Delta):
            self._drawn[event.index].text += event.text
            self._drawn[event.index].logprobs += [_logprob(one) for one in event.logprobs]
        elif isinstance(event, Finished):
            self._drawn[event.index].reason = event.reason
            self._drawn[event.index].tokens = event.tokens
        elif isinstance(event, Ranked):
            self._ranked = event

    def _pieces(self, event: Delta | Finished | Ranked) -> list[Facts]:
        if isinstance(event, Delta):
            logprobs = self._logprobs([_logprob(one) for one in event.logprobs])
            return [_chunk_choice(event.index, {"content": event.text}, logprobs)]
        if isinstance(event, Finished):
            return [_chunk_choice(event.index, {}, reason=event.reason)]
        scored = range(len(event.scores))
        return [_chunk_choice(index, {}) | {"menura": self._score(index)} for index in scored]

    def _choices(self) -> list[Facts]:
        if self._body.keeps_best:
            return [self._choice(0, self._drawn[self._best])]
        choices = [self._choice(index, self._drawn[index]) for index in sorted(self._drawn)]
        if self._ranked is None or not self._body.returns_scores:
            return choices
        return [{**choice, "menura": self._score(choice["index"])} for choice in choices]

    def _choice(self, index: int, drawn: _DrawnReply) -> Facts:
        message = {"role": "assistant", "content": drawn.text, "refusal": None}
        logprobs = self._logprobs(drawn.logprobs)
        return {"index": index, "message": message, "finish_reason": drawn.reason, "logprobs": logprobs}

    @property
    def _best(self) -> int:
        return self._ranked.best if self._ranked else min(self._drawn, default=0)

    def _score(self, index: int) -> Facts:
        ranked = cast("Ranked", self._ranked)
        return {"score": ranked.scores[index], "selected": index == ranked.best}

    def _logprobs(self, found: list[Facts]) -> Facts | None:
        return {"content": found, "refusal": None} if self._body.logprobs else None

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self._id, "object": kind, "created": self._created, "model": self._body.model}

    def _chunk(self, choices: Sequence[Facts]) -> dict[str, Any]:
        usage = {"usage": None} if self._body.wants_usage else {}
        return self._head("chat.completion.chunk") | {"choices": choices} | usage

    def _usage(self) -> Facts:
        return usage_of([self._begun] if self._begun else [], sum(one.tokens for one in self._drawn.values()))

    def _said_of_it(self) -> Facts:
        begun = cast("Begun", self._begun)
        recalled = [{"said": said, "reply": reply} for said, reply in begun.recalled]
        notes = [*self._notes, *begun.notes]
        return {"version": begun.version, "cached_tokens": begun.cached_tokens, "recalled": recalled, "notes": notes}


def _chunk_choice(
    index: int, delta: Facts, logprobs: Facts | None = None, *, reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": reason, "logprobs": logprobs}


def _logprob(token: TokenLogprob) -> Facts:
    top = [_likely(text, logprob) for text, logprob in token.top]
    return _likely(token.text, NO_LOGPROB if token.logprob is None else token.logprob) | {"top_logprobs": top}


def _likely(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
