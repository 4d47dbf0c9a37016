"""What the routes stand on, in one place: the engine, the settings, the keys, the database and the jobs."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection

from menura.serve.database.database import Database
from menura.serve.generation import Engine
from menura.serve.jobs.jobs import Jobs
from menura.serve.settings import ServerSettings


@dataclass(frozen=True)
class Services:
    """What one server runs; ``close`` of each is the caller's."""

    engine: Engine
    settings: ServerSettings
    keys: Any
    database: Database
    jobs: Jobs


def services_of(connection: HTTPConnection) -> Services:
    """Return what the application that answers a request was made with."""
    services: Services = connection.app.state.services
    return services
