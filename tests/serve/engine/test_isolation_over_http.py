"""No token of another persona over HTTP: streaming clients of which some leave, replacing and deleting (L1)."""

import asyncio
import json
import os
import random
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from counts import count
from local_server import BEARER, serving
from marked_personas import PROMPTS, SALTS, TOKENS, Replies, begins_with, known_replies, name_of, settings
from serve.made_personas import make_persona, tiny

from menura import api
from menura.artefacts.loading import LoadedModel
from menura.models.causal_lm.slot_cache import CachedPrefix
from menura.serve.app import create_app
from menura.serve.database.database import Database
from menura.serve.engine.prefix_cache import PrefixCache
from menura.serve.engine.scheduler import BatchingEngine
from menura.serve.http.keys import KeyStore
from menura.serve.jobs.jobs import Jobs
from menura.serve.last_use import LastUse
from menura.serve.services import Services

PERSONAS = count(full_count=64, quick_count=8)
SECONDS = count(full_count=300, quick_count=5)
REAL_PERSONAS = count(full_count=8, quick_count=2)
REAL_SECONDS = count(full_count=60, quick_count=4)
CLIENTS = 32
REAL_CLIENTS = count(full_count=32, quick_count=8)
LEAVE = 0.3  # share of requests whose client goes away in the middle
SPEAKS = {"you": "user", "persona": "assistant"}
GONE = ("model_not_found", "persona_changed")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    patch = pytest.MonkeyPatch()
    patch.setenv("MENURA_HOME", str(tmp_path_factory.mktemp("isolation-http")))
    yield tiny()
    patch.undo()


@pytest.fixture(scope="module")
def replies(loaded: LoadedModel) -> Replies:
    return known_replies(loaded, PERSONAS)


@dataclass(frozen=True)
class Crowd:
    """What is asked of: so many personas with these replies, made anew with random weights of this size."""

    loaded: LoadedModel
    replies: Replies
    personas: int
    scale: float = 0.5
    clients: int = CLIENTS


@contextmanager
def server(crowd: Crowd) -> Iterator[str]:
    """Serve the workspace of now, where half of the personas fit into memory; give the URL."""
    first = make_persona(crowd.loaded, name_of(0), salt=SALTS[0], scale=crowd.scale)
    room = sum(value.nbytes for value in first.weights.values()) * crowd.personas // 2
    chosen = settings(slots=16, max_waiting=CLIENTS, resident_bytes=room)
    engine, database = BatchingEngine(chosen), Database()
    jobs = Jobs(chosen.jobs, database)
    try:
        with serving(create_app(Services(engine, chosen, KeyStore(), database, jobs, LastUse(database)))) as (url, _):
            yield url
            freed = time.monotonic() + 5
            while engine.state().running and time.monotonic() < freed:
                time.sleep(0.01)
            assert engine.state().running == 0, "who leaves frees the row"
    finally:
        engine.close()
        jobs.close()
        database.close()


def body_of(name: str, prompt: int) -> dict[str, object]:
    messages = [{"role": SPEAKS[turn.speaker], "content": turn.text} for turn in PROMPTS[prompt]]
    length = {"min_tokens": TOKENS, "max_tokens": TOKENS}
    return {"model": name, "messages": messages, "temperature": 0, "logprobs": True, "stream": True, **length}


async def events_of(reply: httpx.Response) -> AsyncIterator[dict[str, object] | None]:
    """Yield the objects of a stream, None for its end as it should be."""
    async for line in reply.aiter_lines():
        if line.startswith("data: "):
            yield None if line == "data: [DONE]" else json.loads(line.removeprefix("data: "))


@dataclass
class HttpClients:
    """Clients that ask for personas at random until the time is over, and note what was no persona's own."""

    crowd: Crowd
    http: httpx.AsyncClient
    until: float
    wrong: list[str] = field(default_factory=list)
    whole: int = 0
    left: int = 0
    gone: int = 0
    read_on: int = 0

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.until and not self.wrong

    async def client(self, seed: int) -> None:
        chance = random.Random(seed)
        while self.goes_on:
            name, prompt = name_of(chance.randrange(self.crowd.personas)), chance.randrange(len(PROMPTS))
            leaves_after = chance.randrange(1, TOKENS - 2) if chance.random() < LEAVE else TOKENS + 1
            async with self.http.stream("POST", "/v1/chat/completions", json=body_of(name, prompt)) as reply:
                await self.read(reply, name, prompt, leaves_after)

    async def read(self, reply: httpx.Response, name: str, prompt: int, leaves_after: int) -> None:
        """Compare each token with those that it may be; a client that has read enough just goes."""
        if reply.status_code != 200:
            code = json.loads(await reply.aread())["error"]["code"]
            self.gone += 1
            if code == "overloaded":  # on a busy machine: it waited for longer than it may
                await asyncio.sleep(float(reply.headers["Retry-After"]))
            elif code not in GONE:
                self.wrong.append(f"{name}: {reply.status_code} {code}")
            return
        possible = [self.crowd.replies[name, salt, prompt] for salt in SALTS]
        told: list[float] = []
        ended = False
        async for event in events_of(reply):
            if event is None:
                ended = True
                continue
            if "error" in event:
                self.gone += 1
                return
            told += self.numbers(event)
            if not any(begins_with(one, told) for one in possible):
                self.wrong.append(f"{name}: {told}, wanted one of {possible}")
                return
            if len(told) >= leaves_after:
                self.left += 1
                return
        self.whole += ended
        if ended and len(told) != TOKENS:
            self.wrong.append(f"{name}: {len(told)} tokens")

    def numbers(self, event: dict[str, object]) -> list[float]:
        self.read_on += bool((event.get("menura") or {}).get("cached_tokens"))  # type: ignore[attr-defined]
        told = [choice["logprobs"] for choice in event["choices"] if choice["logprobs"]]  # type: ignore[attr-defined]
        return [token["logprob"] for one in told for token in one["content"]]

    async def changes(self) -> None:
        """Delete personas over HTTP and make them anew while they are asked for."""
        chance = random.Random(1)
        while self.goes_on:
            name = name_of(chance.randrange(self.crowd.personas))
            if chance.random() < 0.5:
                deleted = await self.http.delete(f"/api/personas/{name}")
                assert deleted.status_code == 204, deleted.text
            salt = chance.choice(SALTS)
            await asyncio.to_thread(make_persona, self.crowd.loaded, name, salt=salt, scale=self.crowd.scale)
            await asyncio.sleep(0.05)


def asked_by_many(crowd: Crowd, seconds: float) -> HttpClients:
    async def run(url: str) -> HttpClients:
        limits = httpx.Limits(max_connections=CLIENTS + 2)
        async with httpx.AsyncClient(base_url=url, headers=BEARER, timeout=120, limits=limits) as http:
            clients = HttpClients(crowd, http, time.monotonic() + seconds)
            await asyncio.gather(clients.changes(), *map(clients.client, range(crowd.clients)))
            return clients

    with server(crowd) as url:
        found = asyncio.run(run(url))
    print(f"{found.whole} whole, {found.left} left, {found.gone} gone, {found.read_on} read on")
    return found


@pytest.mark.slow
def test_over_http_every_token_is_of_the_persona_that_was_asked(loaded: LoadedModel, replies: Replies) -> None:
    clients = asked_by_many(Crowd(loaded, replies, PERSONAS), SECONDS)
    assert clients.wrong == []
    assert min(clients.whole, clients.left, clients.read_on) > 5


def test_over_http_a_persona_left_out_of_the_key_of_a_prefix_is_noticed(
    loaded: LoadedModel, replies: Replies, monkeypatch: pytest.MonkeyPatch
) -> None:
    rightly = PrefixCache.longest

    def anybodys(self: PrefixCache, key: str, ids: tuple[int, ...]) -> CachedPrefix | None:
        del key
        known = (found for own, _ in list(self._kept) if (found := rightly(self, own, ids)))
        return max(known, key=lambda found: len(found.ids), default=None)

    monkeypatch.setattr(PrefixCache, "longest", anybodys)
    assert asked_by_many(Crowd(loaded, replies, PERSONAS), 10).wrong


@pytest.mark.slow
@pytest.mark.weights
def test_on_the_default_base_every_token_is_of_the_persona_that_was_asked(
    weights_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.symlink(weights_workspace / "bases", tmp_path / "bases")
    monkeypatch.setenv("MENURA_HOME", str(tmp_path))
    loaded = api.load("smollm2-135m", offline=True).loaded
    replies = known_replies(loaded, REAL_PERSONAS, scale=0.05)
    clients = asked_by_many(Crowd(loaded, replies, REAL_PERSONAS, 0.05, REAL_CLIENTS), REAL_SECONDS)
    assert clients.wrong == []
    assert clients.whole
    assert clients.left
