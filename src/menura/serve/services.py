"""What every route may use, made once when the server starts."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from menura.serve.database.database import Database
from menura.serve.generation import Engine, Event, GenerationRequest
from menura.serve.http.keys import KeyStore
from menura.serve.jobs.jobs import Jobs
from menura.serve.last_use import LastUse
from menura.serve.settings import ServerSettings


@dataclass(frozen=True)
class Services:
    """The engine, settings, keys, database and jobs of one server; whoever made them closes them."""

    engine: Engine
    settings: ServerSettings
    keys: KeyStore
    database: Database
    jobs: Jobs
    last_use: LastUse

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Ask the engine, and note that the persona is used."""
        self.last_use.note(request.model)
        return self.engine.generate(request)


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the server that answers a request."""
    services: Services = connection.app.state.services
    return services
