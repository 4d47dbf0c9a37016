"""Settings become a running server: one process, one event loop, stopped by a signal without cutting a reply short."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import closing
from types import FrameType

import uvicorn
from fastapi import FastAPI

from menura import __version__
from menura.errors import ConfigError, shown
from menura.serve import logs
from menura.serve.app import create_app
from menura.serve.database.database import Database
from menura.serve.engine.scheduler import BatchingEngine
from menura.serve.generation import Engine
from menura.serve.http.keys import KeyStore
from menura.serve.http.protocol import protocol_with
from menura.serve.http.request_checks import is_loopback
from menura.serve.http.traffic import Traffic
from menura.serve.jobs.jobs import Jobs
from menura.serve.last_use import LastUse
from menura.serve.services import Services
from menura.serve.settings import ServerSettings

CLOSING_SECONDS = 5  # for what still runs when the drain is over, to say so to its clients
BACKLOG = 512


class DrainingServer(uvicorn.Server):
    """A server that a signal drains: new requests get 503, running ones may finish. A second signal stops it at once.

    ``on_started`` is called once it listens.
    """

    def __init__(self, app: FastAPI, settings: ServerSettings, on_started: Callable[[], None]) -> None:
        super().__init__(config_of(app, settings))
        self._traffic: Traffic = app.state.traffic
        self._engine: Engine = app.state.services.engine
        self._seconds = settings.drain_seconds
        self._on_started = on_started
        self._ends = float("inf")

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        if self.started:
            self._on_started()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; at the second signal stop."""
        if self._traffic.draining:
            self.should_exit = self.force_exit = True
            return
        self.drain()

    def drain(self) -> None:
        """Take no more requests, and stop when the running ones are done, at the latest after the drain's seconds."""
        self._traffic.draining = True
        self._ends = time.monotonic() + self._seconds

    async def on_tick(self, counter: int) -> bool:
        """Return whether to stop."""
        if self._traffic.draining and (self._traffic.running == 0 or time.monotonic() >= self._ends):
            self.should_exit = True
        if self.should_exit:
            self._engine.close()  # what still runs ends with an error that says so
            await asyncio.sleep(0)
        return await super().on_tick(counter)


def run(
    settings: ServerSettings,
    say: Callable[[str], None],
    prepare: Callable[[], None] | None = None,
    *,
    verbose: bool = False,
) -> None:
    """Serve until a signal; ``prepare`` may take long, and is called once the settings are found to be good.

    ConfigError for an address that other machines reach while there is no key.
    """
    keys = KeyStore()
    check_keys(settings, keys)
    with (
        closing(bound(settings)) as listening,
        closing(Database()) as database,
        closing(Jobs(settings.jobs, database)) as jobs,
    ):
        logs.set_up(verbose=verbose)
        if prepare is not None:
            prepare()
        engine = BatchingEngine(settings)
        last_use = LastUse(database)
        app = create_app(Services(engine, settings, keys, database, jobs, last_use))
        server = DrainingServer(app, settings, lambda: say(listening_line(listening, engine)))
        server.run([listening])
        last_use.write()


def check_keys(settings: ServerSettings, keys: KeyStore) -> None:
    """Refuse to listen where other machines reach it without a key."""
    if not is_loopback(settings.host) and not keys.list():
        message = f"--host {shown(settings.host)}: other machines reach it, and there is no key"
        raise ConfigError(message, hint="menura key new NAME")


def bound(settings: ServerSettings) -> socket.socket:
    """Return a socket that listens as the settings say; ConfigError where the address is none, or in use."""
    listening: socket.socket | None = None
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        if listening is not None:
            listening.close()
        said = getattr(error, "strerror", None) or str(error)
        message = f"{shown(settings.host)} port {settings.port}: {said}"
        raise ConfigError(message, hint="--port 8766") from error
    listening.setblocking(False)
    return listening


def config_of(app: FastAPI, settings: ServerSettings) -> uvicorn.Config:
    """Return uvicorn's settings: h11, whose limits hold; no proxy's word for who asks; no log of its own."""
    limits = settings.http
    return uvicorn.Config(
        app,
        http=protocol_with(limits),
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        h11_max_incomplete_event_size=limits.header_bytes + limits.url_bytes,
        timeout_graceful_shutdown=CLOSING_SECONDS,
    )


def listening_line(listening: socket.socket, engine: Engine) -> str:
    """Return what is printed once the server listens."""
    host, port = listening.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    personas = sum(model.is_persona for model in engine.served())
    version = ".".join(__version__.split(".")[:2])
    return f"menura {version}   {url}     OpenAI base URL {url}/v1   personas {personas}   (Ctrl-C stops)"
