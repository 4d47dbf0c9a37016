"""An engine without a model: it says what a test tells it to, and remembers what it was asked and who left."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field

from menura.errors import ConfigError
from menura.serve.generation import (
    Begun,
    Delta,
    EngineState,
    Event,
    Finished,
    GenerationRequest,
    Ranked,
    ServedModel,
    TokenLogprob,
)

BASE = "tiny"
MODELS = (ServedModel("anna", 1_700_000_000, BASE), ServedModel("bob", 1_700_000_001, BASE), ServedModel(BASE, 1))


@dataclass
class FakeEngine:
    """Replies word by word. ``fails_first`` is raised before any event, ``fails_after`` after the first word."""

    reply: str = "hello there you"
    replies: Mapping[str, str] = field(default_factory=dict)  # of models that say something else
    delay: float = 0.0  # seconds before each word
    models: Sequence[ServedModel] = MODELS
    fails_first: Exception | None = None
    fails_after: Exception | None = None
    recalled: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    alive: bool = True
    asked: list[GenerationRequest] = field(default_factory=list)
    running: int = 0
    finished: int = 0
    cancelled: int = 0

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        self.asked.append(request)
        self.running += 1
        done = False
        try:
            if self.fails_first:
                raise self.fails_first
            self.find(request.model)
            yield Begun(request.model, 3, 5, 2, self.recalled, self.notes)
            async for event in self._said(request):
                yield event
            done = True
        finally:
            self.running -= 1
            self.finished += done
            self.cancelled += not done

    async def _said(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        words = self.replies.get(request.model, self.reply).split(" ")
        words = words[: request.max_new_tokens]
        for index in range(request.count):
            if request.echo:
                yield Delta(index, *_echoed(request))
            for place, word in enumerate(words):
                await asyncio.sleep(self.delay)
                text = word if not place else f" {word}"
                yield Delta(index, text, _logprobs(request, text))
                if self.fails_after:
                    raise self.fails_after
            yield Finished(index, "stop" if request.max_new_tokens is None else "length", len(words))
        if request.ranked:
            yield Ranked(tuple(0.1 * index for index in range(request.count)), request.count - 1)

    def served(self) -> Sequence[ServedModel]:
        return self.models

    def find(self, name: str) -> ServedModel:
        for model in self.models:
            if model.name == name.partition("@")[0]:
                return ServedModel(name, model.created, model.parent)
        raise ConfigError(f"unknown model {name!r}", hint="did you mean anna?", code="model_not_found")

    def state(self) -> EngineState:
        return EngineState(self.running, 0, 32, 0, 0, 7, (BASE,), self.alive, {"finished": self.finished})

    def close(self) -> None:
        self.alive = False


def _echoed(request: GenerationRequest) -> tuple[str, tuple[TokenLogprob, ...]]:
    prompt = request.prompt
    assert prompt is not None
    pieces = list(prompt) if isinstance(prompt, str) else [chr(97 + number % 26) for number in prompt]
    tokens = [TokenLogprob(piece, -0.5 if place else None, ((piece, -0.5),)) for place, piece in enumerate(pieces)]
    return "".join(pieces), tuple(tokens) if request.top_logprobs is not None else ()


def _logprobs(request: GenerationRequest, text: str) -> tuple[TokenLogprob, ...]:
    if request.top_logprobs is None:
        return ()
    top = (("likely", -0.25), (text, -1.5))[: request.top_logprobs]
    return (TokenLogprob(text, -1.5, top),)
