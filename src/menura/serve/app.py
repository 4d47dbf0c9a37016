"""Services become an app: every route behind the guard, every error in its form."""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, FastAPI

from menura import __version__
from menura.serve import health
from menura.serve.http import errors, sessions
from menura.serve.http.guard import Guard
from menura.serve.http.request_checks import PUBLIC
from menura.serve.http.sessions import SessionStore
from menura.serve.http.traffic import Traffic
from menura.serve.http.wrong_keys import WrongKeys
from menura.serve.openai import chat, completions, models
from menura.serve.page import routes as page_routes
from menura.serve.routes import adapt, chats, compare, jobs, personas, replies, runs, uploads
from menura.serve.services import Services

API_ROUTERS = (
    *(health.router, sessions.router, models.router, chat.router, completions.router),
    *(personas.router, uploads.router, adapt.router, jobs.router, chats.router, replies.router, compare.router),
    runs.router,
)
ROUTERS = (*API_ROUTERS, page_routes.router)


def create_app(services: Services, routers: Sequence[APIRouter] = ROUTERS) -> FastAPI:
    """Return the app of one server; ``routers`` have all of its routes but ``/openapi.json``."""
    app = FastAPI(
        title="Menura",
        version=__version__,
        description="Personas that reply: OpenAI's API under /v1, Menura's own under /api.",
        docs_url=None,  # such pages fetch their scripts from other hosts
        redoc_url=None,
        separate_input_output_schemas=False,
    )
    app.state.services = services
    app.state.traffic = Traffic()
    app.state.sessions = SessionStore()
    app.state.wrong_keys = WrongKeys(services.settings.http.wrong_keys_per_minute)
    errors.install(app)
    for router in routers:
        app.include_router(router)
    app.add_middleware(Guard, owner=app)
    _describe_guard(app)
    return app


BEARER = {"type": "http", "scheme": "bearer", "description": "A key, where one is needed: `menura key new NAME`."}
PROBLEM = {"content": {"application/problem+json": {"schema": {"type": "object", "required": ["status", "code"]}}}}
REFUSALS = {
    "4XX": {"description": "the request cannot be answered", **PROBLEM},
    "5XX": {"description": "the server cannot answer it now", **PROBLEM},
}


def _describe_guard(app: FastAPI) -> None:
    """Let the OpenAPI file say what the guard does for all routes: which need a key, and that it may refuse."""
    found = app.openapi()
    found.setdefault("components", {})["securitySchemes"] = {"bearer": BEARER}
    for path, methods in found["paths"].items():
        operations: list[dict[str, Any]] = list(methods.values())
        for operation in operations:
            operation["security"] = [] if path in PUBLIC else [{"bearer": []}]
            operation["responses"].pop("422", None)  # FastAPI's own form, which nothing here answers in
            operation["responses"] = {**REFUSALS, **operation["responses"]}
