"""What every route may use, made once when the server starts."""

from dataclasses import dataclass

from starlette.requests import HTTPConnection

from menura.serve.database.database import Database
from menura.serve.generation import Engine
from menura.serve.http.keys import KeyStore
from menura.serve.jobs.jobs import Jobs
from menura.serve.settings import ServerSettings


@dataclass(frozen=True)
class Services:
    """The engine, settings, keys, database and adaptation jobs of one server; whoever made them closes them."""

    engine: Engine
    settings: ServerSettings
    keys: KeyStore
    database: Database
    jobs: Jobs


def services_of(connection: HTTPConnection) -> Services:
    """Return the services of the server that answers a request."""
    services: Services = connection.app.state.services
    return services
