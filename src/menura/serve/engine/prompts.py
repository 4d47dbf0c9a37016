"""A request becomes what a model reads: facts, the client's own text, recalled exchanges, the dialogue so far."""

from collections import Counter
from dataclasses import dataclass, replace

from menura.api.agent import Agent
from menura.batches.encode import EncodedExchange, Encoder
from menura.errors import ConfigError, DataError, number_of
from menura.serve.engine.residents import Resident
from menura.serve.generation import GenerationRequest

SYSTEM_SHARE = 4  # a client's text takes at most this part of what a model reads: the dialogue needs the rest


@dataclass(frozen=True)
class Prompt:
    """What is read before a reply.

    ``exchange`` is the chat, None for a raw prompt; ``plain`` is the chat as the un-adapted model reads it. ``notes``
    say what of the request was cut.
    """

    ids: tuple[int, ...]
    max_new_tokens: int
    agent: Agent
    exchange: EncodedExchange | None = None
    plain: EncodedExchange | None = None
    recalled: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def prompt_of(resident: Resident, request: GenerationRequest, default_new_tokens: int) -> Prompt:
    """Encode a request for an agent.

    A persona reads the client's system text after its own facts. Raises DataError ``context_length_exceeded`` for a raw
    prompt that is too long, ConfigError for a memory that there is not.
    """
    agent = resident.agent
    if request.memory_tokens is not None:
        agent = agent.remembering(request.memory_tokens)
    # An encoder counts what it leaves out; this one counts for this request alone.
    encoder = replace(agent.loaded.encoder, cut=Counter(), read=Counter())
    agent = replace(agent, loaded=replace(agent.loaded, encoder=encoder))
    wanted = default_new_tokens if request.max_new_tokens is None else request.max_new_tokens
    if request.prompt is not None:
        return _raw(agent, encoder, request, wanted)
    agent, notes = _with_system(agent, encoder, request.system)
    most = agent.bounded(wanted)
    recalled = agent.recalled(request.turns)
    exchange = agent.prompt(request.turns, most, recalled)
    plain = replace(agent, memory=None).prompt(request.turns, most) if request.ranked else None
    if encoder.cut["turns"]:
        left_out = number_of(encoder.cut["turns"], "turn")
        notes = (*notes, f"left out: the oldest {left_out}, beyond {encoder.max_length:,} tokens")
    texts = [dialogue[-1].source for dialogue in recalled]
    said = tuple((one.context[-1].text if one.context else "", one.reply.text) for one in texts if one)
    return Prompt(exchange.prefix, most, agent, exchange, plain, said, notes)


def _with_system(agent: Agent, encoder: Encoder, system: str) -> tuple[Agent, tuple[str, ...]]:
    """Return an agent that reads a client's text as facts after its own, and what was cut of the text."""
    lines = [line.strip() for line in system.splitlines() if line.strip()]
    if not lines:
        return agent, ()
    if encoder.profile is not None:
        return agent, ("left out: the system message; this model reads profiles, no text",)
    room, kept = encoder.max_length // SYSTEM_SHARE, []
    for line in lines:
        words = line.split(" ")
        while words and len(encoder.tokenizer.encode(" ".join(words))) > room:
            words.pop()
        if not words:
            break
        kept.append(" ".join(words))
        room -= len(encoder.tokenizer.encode(kept[-1]))
    cut = sum(map(len, lines)) - sum(map(len, kept))
    most = encoder.max_length // SYSTEM_SHARE
    notes = (f"cut: {number_of(cut, 'character')} of the system message, beyond {most:,} tokens",) if cut > 0 else ()
    return replace(agent, facts=(*agent.facts, *kept)), notes


def _raw(agent: Agent, encoder: Encoder, request: GenerationRequest, wanted: int) -> Prompt:
    """Return a raw prompt: token ids as they are, or a text whose control tokens count as such."""
    given = request.prompt
    ids = encoder.tokenizer.encode_with_control(given) if isinstance(given, str) else tuple(given or ())
    known = len(encoder.tokenizer)
    wrong = next((id for id in ids if not 0 <= id < known), None)
    if wrong is not None:
        raise ConfigError(f"token id {wrong}: 0 to {known - 1} wanted", code="invalid_value")
    if not ids:
        raise DataError("the prompt is empty", code="empty")
    if len(ids) + wanted > encoder.max_length:
        raise DataError(
            f"{len(ids) + wanted:,} tokens, limit {encoder.max_length:,} (prompt {len(ids):,} + max_tokens {wanted:,})",
            code="context_length_exceeded",
        )
    return Prompt(ids, wanted, agent)
