"""What every route may use, made once when the server starts."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection

from menura.serve.generation import Engine
from menura.serve.http.keys import KeyStore
from menura.serve.settings import ServerSettings


@dataclass(frozen=True)
class Services:
    """The engine, the settings, the keys; the database of chats and the adaptation jobs where there are such."""

    engine: Engine
    settings: ServerSettings
    keys: KeyStore
    database: Any = None
    jobs: Any = None


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the server that answers a request."""
    services: Services = connection.app.state.services
    return services
