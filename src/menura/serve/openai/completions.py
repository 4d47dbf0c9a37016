"""``POST /v1/completions``: raw prompts are continued, or scored token by token."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from fastapi import APIRouter
from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.requests import Request
from starlette.responses import Response

from menura.errors import RequestError
from menura.serve.collected_reply import CollectedReply, ReplyChoice
from menura.serve.generation import Delta, Event, Finished, GenerationRequest, TokenLogprob
from menura.serve.http.caller import caller_of
from menura.serve.http.request_checks import is_loopback
from menura.serve.openai.events import OpenAIReply
from menura.serve.openai.fields import LIMITS, MOST_TOKENS, SamplingFields, TokenId, Unsupported
from menura.serve.openai.models import model_of
from menura.serve.openai.replies import ERRORS, Facts, StreamedReply, WholeReply
from menura.serve.services import services_of
from menura.serve.settings import EngineSettings, ServerSettings

router = APIRouter(tags=["openai"], responses=ERRORS)
DEFAULT_TOKENS = 16  # OpenAI's
MOST_REPLIES = EngineSettings().max_count
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
    reply = OpenAIReply(body, CompletionForm(body), asked)
    if body.stream:
        return StreamedReply(reply.chunks(services.generate))
    return WholeReply(reply.whole(services.generate))


def allows_raw_prompts(settings: ServerSettings) -> bool:
    """Return whether ``/v1/completions`` is on: as the settings say, else on a loopback address alone."""
    return is_loopback(settings.host) if settings.raw_prompts is None else settings.raw_prompts


def _generation(body: CompletionBody, prompt: str | tuple[int, ...], *, owner: str) -> GenerationRequest:
    tokens = DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens
    # Who scores a prompt leaves out the last token, which is the one generated; so there must be one.
    scored = 1 if body.echo and body.logprobs is not None else 0
    least = min(tokens, max(scored, body.min_tokens or 0))
    return body.request(
        owner=owner,
        prompt=prompt,
        echo=bool(body.echo),
        count=body.n or 1,
        max_new_tokens=tokens,
        min_new_tokens=least,
        top_logprobs=body.logprobs,
    )


@dataclass(frozen=True)
class CompletionForm:
    """Continuations of prompts: choices of the first prompt, then those of the next."""

    body: CompletionBody
    whole_object: ClassVar[str] = "text_completion"
    chunk_object: ClassVar[str] = "text_completion"
    id_prefix: ClassVar[str] = "cmpl"

    def choices(self, replies: Sequence[CollectedReply]) -> list[Facts]:
        """Return the choices of all prompts."""
        return [
            self._choice(self._index(number, index), reply.choices[index], 0)
            for number, reply in enumerate(replies)
            for index in range(self.body.n or 1)
        ]

    def pieces(self, number: int, event: Event, reply: CollectedReply) -> list[Facts] | None:
        """Return what an event adds to a choice."""
        if isinstance(event, Delta):
            piece = ReplyChoice(event.text, list(event.logprobs))
            before = reply.choices[event.index].logprobs
            offset = sum(len(token.text) for token in before[: len(before) - len(event.logprobs)])
            return [self._choice(self._index(number, event.index), piece, offset)]
        if isinstance(event, Finished):
            return [self._choice(self._index(number, event.index), ReplyChoice(reason=event.reason), 0)]
        return None

    def last_pieces(self, replies: Sequence[CollectedReply]) -> list[list[Facts]]:
        """Return nothing more."""
        del replies
        return []

    def beside(self, reply: CollectedReply) -> Facts:
        """Return nothing more."""
        del reply
        return {}

    def _index(self, number: int, index: int) -> int:
        return number * (self.body.n or 1) + index

    def _choice(self, index: int, choice: ReplyChoice, offset: int) -> Facts:
        logprobs = None if self.body.logprobs is None else _legacy_logprobs(choice.logprobs, offset)
        return {"index": index, "text": choice.text, "finish_reason": choice.reason, "logprobs": logprobs}


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
