"""``POST /v1/chat/completions``: a chat becomes a reply, or several."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from menura.serve.collected_reply import CollectedReply, ReplyChoice
from menura.serve.generation import Begun, Delta, Event, Finished, GenerationRequest, Ranked, TokenLogprob
from menura.serve.http.caller import caller_of
from menura.serve.openai.chat_body import ChatCompletionBody
from menura.serve.openai.events import OpenAIReply
from menura.serve.openai.models import model_of
from menura.serve.openai.replies import ERRORS, Facts, StreamedReply, WholeReply
from menura.serve.services import services_of

router = APIRouter(tags=["openai"], responses=ERRORS)
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
    reply = OpenAIReply(body, ChatForm(body, notes), [asked])
    if body.stream:
        return StreamedReply(reply.chunks(services.generate))
    return WholeReply(reply.whole(services.generate))


def _generation(body: ChatCompletionBody, *, owner: str) -> GenerationRequest:
    extras = body.extras
    return body.request(
        owner=owner,
        turns=body.turns,
        system=body.system,
        count=body.count,
        max_new_tokens=body.max_new_tokens,
        min_new_tokens=body.min_tokens or 0,
        sampling=body.sampling(top_k=extras.top_k, min_p=extras.min_p, repetition_penalty=extras.repetition_penalty),
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        memory_tokens=extras.memory_tokens,
        ranked=body.keeps_best or body.returns_scores,
    )


@dataclass(frozen=True)
class ChatForm:
    """Replies to a chat; of replies of which the best is given, a stream has all of it in one chunk."""

    body: ChatCompletionBody
    notes: tuple[str, ...]
    whole_object: ClassVar[str] = "chat.completion"
    chunk_object: ClassVar[str] = "chat.completion.chunk"
    id_prefix: ClassVar[str] = "chatcmpl"

    def choices(self, replies: Sequence[CollectedReply]) -> list[Facts]:
        """Return the choices, each with its score where that was asked for."""
        (reply,) = replies
        if self.body.keeps_best:
            return [self._choice(0, reply.choices[reply.best])]
        choices = [self._choice(index, reply.choices[index]) for index in sorted(reply.choices)]
        if reply.ranked is None or not self.body.returns_scores:
            return choices
        return [{**choice, "menura": _score(reply.ranked, choice["index"])} for choice in choices]

    def pieces(self, number: int, event: Event, reply: CollectedReply) -> list[Facts] | None:
        """Return the roles, then what each event adds; of several of which the best is given nothing until it is."""
        del number, reply
        if isinstance(event, Begun):
            count = 1 if self.body.keeps_best else self.body.count
            return [_chunk_choice(index, {"role": "assistant", "content": ""}) for index in range(count)]
        return None if self.body.keeps_best else self._further(event)

    def last_pieces(self, replies: Sequence[CollectedReply]) -> list[list[Facts]]:
        """Return the best of several."""
        if not self.body.keeps_best:
            return []
        best = replies[0].choices[replies[0].best]
        said = _chunk_choice(0, {"content": best.text}, self._logprobs(best.logprobs))
        return [[said], [_chunk_choice(0, {}, reason=best.reason)]]

    def beside(self, reply: CollectedReply) -> Facts:
        """Return what only Menura says of a reply."""
        begun = cast("Begun", reply.prompt)
        recalled = [{"said": said, "reply": answer} for said, answer in begun.recalled]
        notes = [*self.notes, *begun.notes]
        about = {"version": begun.version, "cached_tokens": begun.cached_tokens, "recalled": recalled, "notes": notes}
        return {"menura": about}

    def _further(self, event: Delta | Finished | Ranked) -> list[Facts]:
        if isinstance(event, Delta):
            return [_chunk_choice(event.index, {"content": event.text}, self._logprobs(event.logprobs))]
        if isinstance(event, Finished):
            return [_chunk_choice(event.index, {}, reason=event.reason)]
        scored = range(len(event.scores))
        return [_chunk_choice(index, {}) | {"menura": _score(event, index)} for index in scored]

    def _choice(self, index: int, choice: ReplyChoice) -> Facts:
        message = {"role": "assistant", "content": choice.text, "refusal": None}
        logprobs = self._logprobs(choice.logprobs)
        return {"index": index, "message": message, "finish_reason": choice.reason, "logprobs": logprobs}

    def _logprobs(self, tokens: Sequence[TokenLogprob]) -> Facts | None:
        return {"content": [_logprob(one) for one in tokens], "refusal": None} if self.body.logprobs else None


def _score(ranked: Ranked, index: int) -> Facts:
    return {"score": ranked.scores[index], "selected": index == ranked.best}


def _chunk_choice(
    index: int, delta: Facts, logprobs: Facts | None = None, *, reason: str | None = None
) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": reason, "logprobs": logprobs}


def _logprob(token: TokenLogprob) -> Facts:
    top = [_likely(text, logprob) for text, logprob in token.top]
    return _likely(token.text, NO_LOGPROB if token.logprob is None else token.logprob) | {"top_logprobs": top}


def _likely(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}
