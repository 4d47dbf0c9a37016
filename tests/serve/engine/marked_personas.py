"""Personas whose greedy replies are known beforehand, from an engine that ran nothing else; no two are alike.

So a token of any other persona, or of another version of the same one, shows at once.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

from serve.made_personas import make_persona

from menura.artefacts.loading import LoadedModel
from menura.corpus.dialogue import Turn
from menura.serve.engine.scheduler import BatchingEngine
from menura.serve.generation import Delta, Event, GenerationRequest, Sampling
from menura.serve.settings import EngineSettings, ServerSettings

SALTS = ("one", "two")
BEGINNING = "we talked about the garden and the rain and the basil all morning"
PROMPTS = (
    (Turn("you", BEGINNING),),
    (Turn("you", BEGINNING), Turn("persona", "yes"), Turn("you", "and then?")),
    (Turn("you", f"{BEGINNING}, remember?"),),
)
TOKENS = 16
NEAR = 1e-3  # of log-probabilities: rounding in another batch; those of two personas differ by far more

Replies = Mapping[tuple[str, str, int], list[float]]  # by persona, salt of its version and prompt


def name_of(number: int) -> str:
    return f"marked{number:02}"


def settings(**changes: int) -> ServerSettings:
    return ServerSettings(offline=True, engine=replace(EngineSettings(), **changes))


def asked(name: str, prompt: int) -> GenerationRequest:
    greedy = Sampling(temperature=0)
    return GenerationRequest(
        name, PROMPTS[prompt], min_new_tokens=TOKENS, max_new_tokens=TOKENS, sampling=greedy, top_logprobs=0
    )


def numbers(event: Event) -> list[float]:
    """Return the log-probabilities of the tokens of an event."""
    told = event.logprobs if isinstance(event, Delta) else ()
    return [one.logprob for one in told if one.logprob is not None]


def begins_with(reply: Sequence[float], told: Sequence[float]) -> bool:
    return all(abs(a - b) < NEAR for a, b in zip(reply, told, strict=False)) and len(told) <= len(reply)


def known_replies(loaded: LoadedModel, personas: int, scale: float = 0.5) -> Replies:
    """Return each reply as an engine gives it that runs one request at a time and keeps nothing."""
    engine = BatchingEngine(settings(slots=1, prefix_bytes=0))

    async def reply(name: str, prompt: int) -> list[float]:
        return [number async for event in engine.generate(asked(name, prompt)) for number in numbers(event)]

    found = {}
    for salt in SALTS:
        for number in range(personas):
            make_persona(loaded, name_of(number), salt=salt, scale=scale)
        for number in range(personas):
            for prompt in range(len(PROMPTS)):
                found[name_of(number), salt, prompt] = asyncio.run(reply(name_of(number), prompt))
    engine.close()
    for prompt in range(len(PROMPTS)):
        told = [one for (_, _, at), one in found.items() if at == prompt]
        alike = [1 for one, other in combinations(told, 2) if begins_with(one, other)]
        assert not alike, "replies that are alike would show nothing"
    return found
