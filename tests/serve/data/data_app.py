"""An application of the routes under ``/api`` alone: a header says who asks, and errors leave as plain JSON."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from plain_persona import made_persona
from scripted_engine import ScriptedEngine
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from menura.artefacts import persona_store
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.errors import MenuraError
from menura.serve.database.database import Database
from menura.serve.http.caller import Caller
from menura.serve.jobs.jobs import Jobs
from menura.serve.last_use import LastUse
from menura.serve.routes import adapt, chats, compare, jobs, personas, replies, runs, uploads
from menura.serve.services import Services
from menura.serve.settings import ServerSettings

ROUTERS = [module.router for module in (adapt, chats, compare, jobs, personas, replies, runs, uploads)]
STATUS = {
    "model_not_found": 404,
    "not_found": 404,
    "unknown_version": 404,
    "unsafe_format": 415,
    "base_mismatch": 409,
    "name_taken": 409,
    "already_rated": 409,
    "locked": 409,
    "persona_damaged": 409,
    "card_bomb": 413,
    "too_large": 413,
    "overloaded": 429,
    "rate_limit_exceeded": 429,
    "lost_worker": 500,
    "internal": 500,
}
CALLERS = {
    "": Caller(),
    "anna": Caller("a1", ("anna", "anna-*")),
    "bert": Caller("b1", ("bert",)),
}


class AsCaller:
    """Sets who asks, as the guard does."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            key = dict(scope["headers"]).get(b"x-caller", b"").decode()
            scope.setdefault("state", {})["caller"] = CALLERS[key]
        await self.app(scope, receive, send)


@dataclass
class Server:
    """One application with what it stands on; ``as_`` is a client of somebody."""

    services: Services
    app: FastAPI

    def as_(self, caller: str = "") -> TestClient:
        return TestClient(self.app, headers={"x-caller": caller}, raise_server_exceptions=True)

    @property
    def engine(self) -> ScriptedEngine:
        assert isinstance(self.services.engine, ScriptedEngine)
        return self.services.engine


@contextmanager
def serving(settings: ServerSettings | None = None, **engine: Any) -> Iterator[Server]:
    """Give an application on the workspace of now."""
    settings = settings or ServerSettings()
    database = Database()
    made = Jobs(settings.jobs, database)
    app = FastAPI()
    services = Services(ScriptedEngine(**engine), settings, None, database, made, LastUse(database))
    app.state.services = services
    for router in ROUTERS:
        app.include_router(router)
    app.add_middleware(AsCaller)

    @app.exception_handler(MenuraError)
    async def failed(request: Request, error: MenuraError) -> JSONResponse:
        problem = error.problems[0]
        body = {"code": problem.code, "message": problem.message, "hint": problem.hint, "errors": len(error.problems)}
        return JSONResponse(body, STATUS.get(problem.code, 422))

    try:
        yield Server(services, app)
    finally:
        made.close()
        database.close()


def written_persona(name: str, words: str = "", **changes: Any) -> PersonaArtefact:
    """Write such a persona."""
    artefact = made_persona(name, words, **changes)
    persona_store.save(artefact)
    return artefact


def events_of(text: str) -> list[tuple[str, Any]]:
    """Return the events of a stream as (name, data)."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and line[0] != ":")
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def names_of(events: Sequence[tuple[str, Any]]) -> list[str]:
    """Return the names of events, in order."""
    return [name for name, _ in events]
