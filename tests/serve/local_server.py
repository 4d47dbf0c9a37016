"""Asks an app in process, or a server of it in a thread."""

import asyncio
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from menura.serve.app import create_app
from menura.serve.database.database import Database
from menura.serve.generation import Engine
from menura.serve.http.keys import KeyStore
from menura.serve.jobs.jobs import Jobs
from menura.serve.last_use import LastUse
from menura.serve.server import DrainingServer, bound
from menura.serve.services import Services
from menura.serve.settings import ServerSettings

HERE = "http://127.0.0.1:8765"
BEARER = {"Authorization": "Bearer anything"}  # as clients send it where no key is needed
HELLO = {"model": "anna", "messages": [{"role": "user", "content": "hi"}]}


def services_for(engine: Engine, keys: KeyStore, settings: ServerSettings | None = None) -> Services:
    """Return services with a database that nobody else has."""
    chosen = settings or ServerSettings()
    database = Database(Path(tempfile.mkdtemp(prefix="menura-test-")) / "menura.db")
    return Services(engine, chosen, keys, database, Jobs(chosen.jobs, database), LastUse(database))


def app_of(engine: Engine, keys: KeyStore, settings: ServerSettings | None = None) -> FastAPI:
    return create_app(services_for(engine, keys, settings))


def ask(app: FastAPI, method: str, path: str, *, base: str = HERE, **named: Any) -> httpx.Response:
    """Return the reply to one request, in process; headers are those given alone."""

    async def asked() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base) as client:
            return await client.request(method, path, **named)

    return asyncio.run(asked())


def post(app: FastAPI, path: str, body: object, **headers: str) -> httpx.Response:
    """Return the reply to JSON, with a bearer key."""
    return ask(app, "POST", path, json=body, headers=BEARER | headers)


@contextmanager
def serving(app: FastAPI, settings: ServerSettings | None = None) -> Iterator[tuple[str, DrainingServer]]:
    """Serve in a thread on a free port; give the URL and the server."""
    chosen = settings or app.state.services.settings
    listening = bound(ServerSettings(host=chosen.host, port=0))
    started = threading.Event()
    server = DrainingServer(app, chosen, started.set)
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", server
    finally:
        server.should_exit = server.force_exit = True
        thread.join(20)
        listening.close()
        assert not thread.is_alive()


def raw(url: str, sent: bytes, *, seconds: float = 10.0) -> bytes:
    """Send bytes over a socket and return all that comes back until the server closes, or nothing more comes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(sent)
        got = b""
        try:
            while piece := connection.recv(65536):
                got += piece
        except (TimeoutError, ConnectionResetError):
            pass
        return got


def eventually(true: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until something is true; return whether it was."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if true():
            return True
        time.sleep(0.01)
    return true()
