"""No token of another persona: many clients, the same prompts, replacing and deleting meanwhile (reliability L1)."""

import asyncio
import random
import time
from collections.abc import Iterator

import pytest
from counts import count
from marked_personas import (
    PROMPTS,
    SALTS,
    TOKENS,
    Replies,
    asked,
    begins_with,
    known_replies,
    name_of,
    numbers,
    settings,
)
from serve.made_personas import make_persona, tiny

from menura.artefacts import persona_store
from menura.artefacts.loading import LoadedModel
from menura.errors import ConfigError, PersonaChangedError
from menura.models.causal_lm.slot_cache import CachedPrefix
from menura.serve.engine.prefix_cache import PrefixCache
from menura.serve.engine.scheduler import BatchingEngine
from menura.serve.generation import Begun, Finished

PERSONAS = count(full_count=64, quick_count=12)
SECONDS = count(full_count=300, quick_count=4)
CLIENTS = 32


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    patch = pytest.MonkeyPatch()
    patch.setenv("MENURA_HOME", str(tmp_path_factory.mktemp("isolation")))
    yield tiny()
    patch.undo()


@pytest.fixture(scope="module")
def replies(loaded: LoadedModel) -> Replies:
    return known_replies(loaded, PERSONAS)


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
    engine = BatchingEngine(settings(slots=16, max_waiting=CLIENTS, resident_bytes=one * PERSONAS // 2))
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
