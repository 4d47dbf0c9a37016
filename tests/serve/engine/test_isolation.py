"""No token of another persona: many clients, the same prompts, replacing and deleting meanwhile (reliability L1).

The log-probabilities of each persona's greedy reply to each prompt are known beforehand, from an engine that ran
nothing else; no two replies are alike. So a token of any other persona, or of another version of the same one, shows
at once.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import combinations

import pytest
from counts import count
from serve.made_personas import make_persona, tiny

from menura.artefacts import persona_store
from menura.artefacts.loading import LoadedModel
from menura.corpus.dialogue import Turn
from menura.errors import ConfigError, PersonaChangedError
from menura.models.causal_lm.slot_cache import CachedPrefix
from menura.serve.engine.prefix_cache import PrefixCache
from menura.serve.engine.scheduler import BatchingEngine
from menura.serve.generation import Begun, Delta, Event, Finished, GenerationRequest, Sampling
from menura.serve.settings import EngineSettings, ServerSettings

PERSONAS = count(full_count=64, quick_count=12)
SECONDS = count(full_count=300, quick_count=4)
CLIENTS = 32
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


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    patch = pytest.MonkeyPatch()
    patch.setenv("MENURA_HOME", str(tmp_path_factory.mktemp("isolation")))
    yield tiny()
    patch.undo()


def name_of(number: int) -> str:
    return f"marked{number:02}"


def settings(loaded: LoadedModel, **changes: int) -> ServerSettings:
    del loaded
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


def begins_with(reply: list[float], told: list[float]) -> bool:
    return all(abs(a - b) < NEAR for a, b in zip(reply, told, strict=False)) and len(told) <= len(reply)


@pytest.fixture(scope="module")
def replies(loaded: LoadedModel) -> Replies:
    """Return each reply as an engine gives it that runs one request at a time and keeps nothing."""
    engine = BatchingEngine(settings(loaded, slots=1, prefix_bytes=0))

    async def reply(name: str, prompt: int) -> list[float]:
        return [number async for event in engine.generate(asked(name, prompt)) for number in numbers(event)]

    found = {}
    for salt in SALTS:
        for number in range(PERSONAS):
            make_persona(loaded, name_of(number), salt=salt)
        for number in range(PERSONAS):
            for prompt in range(len(PROMPTS)):
                found[name_of(number), salt, prompt] = asyncio.run(reply(name_of(number), prompt))
    engine.close()
    for prompt in range(len(PROMPTS)):
        told = [one for (_, _, at), one in found.items() if at == prompt]
        alike = [1 for one, other in combinations(told, 2) if begins_with(one, other)]
        assert not alike, "replies that are alike would show nothing"
    return found


class Clients:
    """Clients that ask for personas at random until the time is over, and note what was no persona's own."""

    def __init__(self, engine: BatchingEngine, replies: Replies) -> None:
        self.engine, self.replies = engine, replies
        self.wrong: list[str] = []
        self.whole = self.left = self.ended = self.read_on = 0

    async def client(self, seed: int, until: float) -> None:
        chance = random.Random(seed)
        while time.monotonic() < until and not self.wrong:
            name, prompt = name_of(chance.randrange(PERSONAS)), chance.randrange(len(PROMPTS))
            leaves_after = chance.randrange(1, 6) if chance.random() < 0.3 else TOKENS + 1
            try:
                await self.one(name, prompt, leaves_after)
            except (ConfigError, PersonaChangedError):  # deleted just now
                self.ended += 1

    async def one(self, name: str, prompt: int, leaves_after: int) -> None:
        generator = self.engine.generate(asked(name, prompt))
        told: list[float] = []
        possible = [self.replies[name, salt, prompt] for salt in SALTS]
        try:
            async for event in generator:
                if isinstance(event, Begun):
                    self.read_on += event.cached_tokens > 0
                told += numbers(event)
                whole = isinstance(event, Finished)
                if not any(begins_with(reply, told) and (len(reply) == len(told) or not whole) for reply in possible):
                    self.wrong.append(f"{name}: {told}, wanted one of {possible}")
                    return
                self.whole += whole
                if len(told) >= leaves_after:
                    self.left += 1
                    return
        finally:
            await generator.aclose()

    async def changes(self, loaded: LoadedModel, until: float) -> None:
        """Make personas anew and delete them while they are asked for."""
        chance = random.Random(1)
        while time.monotonic() < until and not self.wrong:
            name = name_of(chance.randrange(PERSONAS))
            if chance.random() < 0.5:
                persona_store.remove(name)
                await asyncio.sleep(0.02)
            make_persona(loaded, name, salt=chance.choice(SALTS))
            await asyncio.sleep(0.05)

    async def run(self, loaded: LoadedModel, seconds: float) -> None:
        until = time.monotonic() + seconds
        clients = [self.client(seed, until) for seed in range(CLIENTS)]
        await asyncio.gather(*clients, self.changes(loaded, until))


def crowd(loaded: LoadedModel, replies: Replies, seconds: float) -> Clients:
    one = sum(value.nbytes for value in make_persona(loaded, name_of(0), salt=SALTS[0]).weights.values())
    engine = BatchingEngine(settings(loaded, slots=16, max_waiting=CLIENTS, resident_bytes=one * PERSONAS // 2))
    clients = Clients(engine, replies)
    asyncio.run(clients.run(loaded, seconds))
    freed = time.monotonic() + 2
    while engine.state().running and time.monotonic() < freed:
        time.sleep(0.01)
    assert engine.state().running == 0, "who leaves frees the row"
    engine.close()
    return clients


@pytest.mark.slow
def test_every_token_is_of_the_persona_that_was_asked(loaded: LoadedModel, replies: Replies) -> None:
    clients = crowd(loaded, replies, SECONDS)
    assert clients.wrong == []
    assert clients.whole > 20
    assert clients.left > 5
    assert clients.read_on > 5, "nothing was read on, so nothing of that was tested"


def test_a_persona_left_out_of_the_key_of_a_prefix_is_noticed(
    loaded: LoadedModel, replies: Replies, monkeypatch: pytest.MonkeyPatch
) -> None:
    rightly = PrefixCache.longest

    def anybodys(self: PrefixCache, key: str, ids: tuple[int, ...]) -> CachedPrefix | None:
        del key
        return max(
            (found for own, _ in list(self._kept) if (found := rightly(self, own, ids))),
            key=lambda found: len(found.ids),
            default=None,
        )

    monkeypatch.setattr(PrefixCache, "longest", anybodys)
    assert crowd(loaded, replies, 5).wrong
