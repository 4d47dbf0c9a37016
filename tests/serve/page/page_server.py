"""A server of the pages with an engine that replies by a script, and personas without weights."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from local_server import serving

from menura.artefacts import persona_store
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.artefacts.persona_memory import RememberedExchanges
from menura.corpus.dialogue import Turn
from menura.errors import ConfigError
from menura.serve import health
from menura.serve.app import create_app
from menura.serve.database.database import Database
from menura.serve.generation import Begun, Delta, EngineState, Event, Finished, GenerationRequest, Ranked, ServedModel
from menura.serve.http import sessions
from menura.serve.http.keys import KeyStore
from menura.serve.jobs.jobs import Jobs
from menura.serve.last_use import LastUse
from menura.serve.page import routes as pages
from menura.serve.routes import adapt, chats, compare, jobs, personas, replies, runs, uploads
from menura.serve.services import Services
from menura.serve.settings import ServerSettings
from menura.tasks.task import Exchange

API = tuple(module.router for module in (adapt, chats, compare, jobs, personas, replies, runs, uploads))
BASE = "tiny"


@dataclass
class TalkingEngine:
    """Says the candidates of ``said``, by model or for all (""), in turns of a few characters.

    ``pieces`` cuts a text; ``delay`` is in seconds before each piece, ``stays`` waits for ever before the last one.
    """

    said: Mapping[str, Sequence[str]] = field(default_factory=lambda: {"": ("haha no", "which one?", "yes!!", "no .")})
    scores: Sequence[float] = (0.71, 0.64, 0.52, 0.18, 0.1, 0.05, 0.02, 0.0)
    recalled: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    stays: bool = False
    size: int = 3
    asked: list[GenerationRequest] = field(default_factory=list)
    running: int = 0

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        self.find(request.model)
        self.asked.append(request)
        self.running += 1
        known = self.said.get(request.model.partition("@")[0]) or self.said.get("") or ("hello",)
        texts = [known[index % len(known)] for index in range(request.count)]
        try:
            yield Begun(request.model, int(request.model != BASE), 7, recalled=self.recalled)
            for start in range(0, max(map(len, texts)), self.size):
                for index, text in enumerate(texts):
                    await asyncio.sleep(self.delay)
                    if piece := text[start : start + self.size]:
                        yield Delta(index, piece)
                if self.stays:
                    await asyncio.Event().wait()
            for index in range(request.count):
                yield Finished(index, "stop", 5)
            if request.ranked:
                yield Ranked(tuple(self.scores[: request.count]), 0)
        finally:
            self.running -= 1

    def served(self) -> Sequence[ServedModel]:
        return [ServedModel(BASE, 0), *(ServedModel(name, 0, BASE) for name in persona_store.names())]

    def find(self, name: str) -> ServedModel:
        if name != BASE and not persona_store.path_of(name).exists():
            raise ConfigError(f"no {name}", code="model_not_found")
        return ServedModel(name, 0, "" if name == BASE else BASE)

    def state(self) -> EngineState:
        return EngineState(self.running, 0, 32, 3, 14_100_000, 48_213, (BASE,))

    def close(self) -> None:
        pass


@contextmanager
def page_server(
    engine: Any, folder: Path, *, routers: Sequence[APIRouter] = API, keys: KeyStore | None = None
) -> Iterator[str]:
    """Serve the pages on a free port, with ``/api`` or what stands in for it; give the URL."""
    settings = ServerSettings()
    database = Database(folder / "menura.db")
    made = Jobs(settings.jobs, database)
    services = Services(engine, settings, keys or KeyStore(folder / "keys.json"), database, made, LastUse(database))
    app: FastAPI = create_app(services, (health.router, sessions.router, pages.router, *routers))
    try:
        with serving(app) as (url, _):
            yield url
    finally:
        made.close()
        database.close()


def write_persona(
    name: str,
    speaker: str = "",
    *,
    held_out: Mapping[str, Any] | None = None,
    remembers: Sequence[tuple[str, str]] = (),
    **recipe: Any,
) -> None:
    """Write a persona without weights; ``recipe`` is what else its record says."""
    usual = {"method": {"name": "finetune"}, "speaker": speaker or name, "shots": 5, "replies": 61}
    usual |= {"support_loss": [3.32, 3.11, 3.02, 2.96, 2.9, 2.87], "held_out": dict(held_out or {}), **recipe}
    exchanges = tuple(Exchange("d", (Turn("you", said),), Turn(speaker or name, reply)) for said, reply in remembers)
    memory = RememberedExchanges(exchanges) if exchanges else None
    model = {"name": "causal_lm", "base": BASE}
    persona_store.save(PersonaArtefact(name, {}, "b" * 64, "", model, (), usual, memory=memory))
