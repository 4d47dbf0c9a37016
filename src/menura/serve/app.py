"""Services become an app: every route behind the guard, every error in its form."""

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI

from menura import __version__
from menura.serve import health
from menura.serve.http import errors, sessions
from menura.serve.http.guard import Guard
from menura.serve.http.sessions import SessionStore
from menura.serve.http.traffic import Traffic
from menura.serve.http.wrong_keys import WrongKeys
from menura.serve.openai import chat, completions, models
from menura.serve.services import Services

ROUTERS = (health.router, sessions.router, models.router, chat.router, completions.router)


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
    return app
