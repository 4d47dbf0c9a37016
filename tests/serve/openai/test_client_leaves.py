"""A client that leaves frees its slot at once, whatever phase its request is in, and disturbs nobody else's."""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import AsyncGenerator, Iterator

import httpx
import orjson
import pytest
from counts import count
from fake_engine import FakeEngine
from local_server import BEARER, HELLO, app_of, eventually, serving
from starlette.types import Message

from menura.serve.generation import Event, GenerationRequest
from menura.serve.http.keys import KeyStore

CHAT = "/v1/chat/completions"
LEAVERS = count(full_count=1_000, quick_count=60)


@pytest.fixture
def url(engine: FakeEngine, keys: KeyStore) -> Iterator[str]:
    with serving(app_of(engine, keys)) as (url, _):
        yield url


def sent(url: str, path: str, body: dict[str, object]) -> socket.socket:
    """Send a request and return its connection."""
    host, port = url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=10)
    content = orjson.dumps(body)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer x\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def leave(connection: socket.socket, *, by_reset: bool) -> None:
    if by_reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.mark.parametrize("by_reset", [True, False])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, HELLO | {"stream": True}),
        (CHAT, HELLO),
        (CHAT, HELLO | {"menura": {"candidates": 4}, "stream": True}),
        ("/v1/completions", {"model": "tiny", "prompt": "a"}),
        ("/v1/completions", {"model": "tiny", "prompt": ["a", "b", "c"]}),
        ("/v1/completions", {"model": "tiny", "prompt": ["a", "b"], "stream": True}),
    ],
    ids=str,
)
def test_a_request_ends_when_its_client_leaves(
    url: str, engine: FakeEngine, path: str, body: dict[str, object], by_reset: bool
) -> None:
    engine.delay = 30
    connection = sent(url, path, body)
    assert eventually(lambda: engine.running > 0)
    leave(connection, by_reset=by_reset)
    assert eventually(lambda: engine.running == 0, 5)
    assert engine.cancelled >= 1
    assert engine.finished == 0


class WaitingEngine(FakeEngine):
    """An engine whose queue never moves."""

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        self.running += 1
        try:
            await asyncio.sleep(30)
            yield await anext(super().generate(request))
        finally:
            self.running -= 1


@pytest.mark.parametrize("stream", [True, False])
def test_a_request_that_waits_leaves_the_queue_with_its_client(keys: KeyStore, stream: bool) -> None:
    engine = WaitingEngine()
    with serving(app_of(engine, keys)) as (url, _):
        connection = sent(url, CHAT, HELLO | {"stream": stream})
        assert eventually(lambda: engine.running == 1)
        leave(connection, by_reset=True)
        assert eventually(lambda: engine.running == 0, 5)


def test_many_leave_and_those_who_stay_get_all_of_their_replies(url: str, engine: FakeEngine) -> None:
    engine.delay = 0.01
    engine.reply = " ".join(f"w{n}" for n in range(20))
    draws = random.Random(7)
    whole: list[str] = []

    def stay() -> None:
        with httpx.Client(timeout=60) as client:
            for _ in range(4):
                whole.append(client.post(f"{url}{CHAT}", json=HELLO | {"stream": True}, headers=BEARER).text)

    staying = [threading.Thread(target=stay) for _ in range(4)]
    for thread in staying:
        thread.start()
    for _ in range(LEAVERS // 10):
        leaving = [sent(url, CHAT, HELLO | {"stream": draws.random() < 0.5}) for _ in range(10)]
        for connection in leaving:
            if draws.random() < 0.5:
                threading.Event().wait(draws.random() * 0.1)
            leave(connection, by_reset=draws.random() < 0.5)
    for thread in staying:
        thread.join(60)
    assert len(whole) == 16
    for text in whole:
        events = [orjson.loads(event[6:]) for event in text.split("\n\n")[:-2]]
        assert "".join(event["choices"][0]["delta"].get("content", "") for event in events) == engine.reply
        assert text.endswith("data: [DONE]\n\n")
    assert eventually(lambda: engine.running == 0, 5)


def test_the_generator_is_closed_by_the_request_s_own_task(engine: FakeEngine, keys: KeyStore) -> None:
    """When the app returns, the slot is free: nothing is left to the collector of garbage."""
    engine.delay = 30
    app = app_of(engine, keys)
    body = orjson.dumps(HELLO | {"stream": True})
    headers = [(b"host", b"127.0.0.1:8765"), (b"authorization", b"Bearer x"), (b"content-type", b"application/json")]
    headers.append((b"content-length", str(len(body)).encode()))
    scope = {"type": "http", "method": "POST", "path": CHAT, "raw_path": CHAT.encode(), "query_string": b""}
    scope |= {"headers": headers, "server": ("127.0.0.1", 8765), "client": ("127.0.0.1", 1), "scheme": "http"}
    coming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        if coming:
            return coming.pop()
        while not engine.running:
            await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        assert message

    async def asked() -> tuple[int, int]:
        await app(scope, receive, send)
        return engine.running, engine.cancelled

    assert asyncio.run(asked()) == (0, 1)
