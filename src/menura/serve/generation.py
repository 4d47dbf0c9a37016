"""What the routes ask of the engine, and what it answers: plain values, without torch and without HTTP."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from menura.corpus.dialogue import Turn

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen; the names and ranges are those of OpenAI's API, and of transformers for the rest.

    ``temperature`` 0 is greedy. ``presence_penalty`` is subtracted once, ``frequency_penalty`` times its count, from
    the logit of each token that the reply has; ``logit_bias`` is added by token id. ``repetition_penalty`` multiplies
    log-probabilities of such tokens (Keskar et al., 2019). ``seed`` None is drawn anew for each request.
    Temperature and top_p are by default those of ``menura chat``: a small model that samples from all tokens wanders.
    """

    temperature: float = 0.8
    top_p: float = 0.92
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None


@dataclass(frozen=True)
class GenerationRequest:
    """One request: ``count`` replies of a model to a chat, or ``count`` continuations of a raw ``prompt``.

    ``model`` is a persona's name, that of a version of it (``anna@1``), or of a base. In ``turns`` the speaker
    ``persona`` is the model itself, every other speaker the partner. ``system`` is what the client says of the
    situation; a persona reads it after its own facts, cut to a quarter of what the model reads. ``top_logprobs`` None:
    no log-probabilities; N: those of the N likeliest tokens too. ``echo`` repeats a raw prompt before its continuation.
    ``memory_tokens`` None is the persona's own budget of recalled exchanges. With ``ranked`` the replies are scored by
    how much likelier the persona makes them (see ``Ranked``). ``owner`` is whose quota the request counts towards.
    """

    model: str
    turns: tuple[Turn, ...] = ()
    system: str = ""
    prompt: str | tuple[int, ...] | None = None
    echo: bool = False
    count: int = 1
    max_new_tokens: int | None = None
    min_new_tokens: int = 0
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    memory_tokens: int | None = None
    ranked: bool = False
    owner: str = ""


@dataclass(frozen=True)
class TokenLogprob:
    """A token with its log-probability, and those of the likeliest in its place; None for a prompt's first token."""

    text: str
    logprob: float | None
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Begun:
    """The first event: the prompt was read.

    ``recalled`` are the exchanges of the persona's memory that were read, as (what was said, reply); ``notes`` say what
    of the request was cut or left out.
    """

    model: str
    version: int
    prompt_tokens: int
    cached_tokens: int = 0
    recalled: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Delta:
    """A further piece of choice ``index``; whole characters only, never a part of a stop string."""

    index: int
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True)
class Finished:
    """Choice ``index`` has ended after ``tokens`` tokens, its end token not counted."""

    index: int
    reason: FinishReason
    tokens: int


@dataclass(frozen=True)
class Ranked:
    """The last event of a ranked request: each choice's score, and which one is the best.

    A score is log p(reply | persona) − log p(reply | the un-adapted model), per token; for the un-adapted model itself
    the mean log-probability per token.
    """

    scores: tuple[float, ...]
    best: int


Event = Begun | Delta | Finished | Ranked


@dataclass(frozen=True)
class ServedModel:
    """A persona or a base as the list of models has it.

    ``parent`` is a persona's base; empty in lists, which read no file of a persona.
    """

    name: str
    created: int  # seconds since 1970; 0 for a base
    parent: str = ""
    is_persona: bool = True


@dataclass(frozen=True)
class EngineState:
    """What the engine is doing, for health and metrics."""

    running: int
    waiting: int
    slots: int
    resident_personas: int
    resident_bytes: int
    tokens: int  # generated since the start
    models: tuple[str, ...] = ()  # the bases in memory
    alive: bool = True
    counts: Mapping[str, int] = field(default_factory=dict)  # of requests by outcome


class Engine(Protocol):
    """What the routes need of an engine; ``serve.engine.scheduler`` has the real one."""

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Yield the events of one request; closing the generator, or cancelling its task, frees its slots.

        Before the first event it raises ConfigError ``model_not_found``, DataError ``context_length_exceeded`` or
        ``persona_damaged``, OverloadedError where the queue is full or a request waited too long in it; later
        PersonaChangedError where the persona was deleted meanwhile.
        """

    def served(self) -> Sequence[ServedModel]:
        """Return the bases and personas, by name; of personas the last versions."""

    def find(self, name: str) -> ServedModel:
        """Return one of them, or an earlier version of a persona; ConfigError ``model_not_found`` with the nearest."""

    def state(self) -> EngineState:
        """Return what it is doing."""

    def close(self) -> None:
        """Stop at once; what runs raises UnavailableError."""
