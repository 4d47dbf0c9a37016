"""Row group: what a server with many personas takes to open, to load one, and to go on answering while one is adapted.

The rows have no peer: they say how many times quicker something is than what is promised.
"""

import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import torch

from benchmarks import interop, serving
from benchmarks.paired import Figures, Ratio, Row
from menura import api
from menura.artefacts import persona_store
from menura.artefacts.bases import base as bases
from menura.corpus.dialogue import Dialogue
from menura.errors import ConfigError
from menura.serve.engine.residents import Residents
from menura.serve.engine.scheduler import BatchingEngine
from menura.serve.settings import ServerSettings

STORED, OPENS_IN = 10_000, 2.0  # personas on the tiny base; seconds
LOADED, LOADS_IN = 100, 0.020  # personas on the default base; seconds, of 95 in 100
ASKED, WAITS_AT_MOST = 12, 3.0  # replies; the time to the first token while adapting over that of an idle server
SERVER = ("what a server does", "took", "promised")
TINY = ("adapters.kind=lora", "adapters.rank=4", "adapters.target_modules=all-linear")


def rows() -> dict[str, Row]:
    """Return the rows by name."""
    return {"store-opens": opens, "persona-loads": loads, "while-adapting": while_adapting}


def opens(rounds: int) -> Iterator[Ratio | Figures]:
    """Open a store of many personas, and list them all."""
    with _workspace() as home:
        model = api.load("tiny", offline=True, assignments=TINY)
        made = model.adapt(interop.made_up(0), speaker="person", k=2, name="person-00000").artefact
        persona_store.save(made)
        for number in range(1, STORED):
            path = persona_store.path_of(name := f"person-{number:05}")
            path.write_bytes(replace(made, name=name).packed())
        seconds = []
        for _ in range(rounds):
            began = time.perf_counter()
            engine = BatchingEngine(ServerSettings(offline=True))
            assert sum(one.name.startswith("person-") for one in engine.served()) == STORED, home
            seconds.append(time.perf_counter() - began)
            engine.close()
    yield from promised(f"{STORED:,} personas are listed by a server that starts", OPENS_IN, seconds)


def loads(rounds: int) -> Iterator[Ratio | Figures]:
    """Load personas that are not in memory, on the default base and from its checkpoint."""
    del rounds  # each load counts
    with _workspace():
        model = api.load(offline=True)
        one = model.adapt(interop.made_up(0), speaker="person", k=1, name="person-000").artefact
        residents = Residents(1, device="cpu", dtype="float32", offline=True)  # room for one alone
        seconds = []
        for number in range(LOADED + 1):
            stream = torch.Generator().manual_seed(number)
            weights = {
                key: value + 0.01 * torch.randn(value.shape, generator=stream) for key, value in one.weights.items()
            }
            persona_store.save(replace(one, name=f"person-{number:03}", weights=weights), replace_old=True)
            began = time.perf_counter()
            residents.get(f"person-{number:03}")
            seconds.append(time.perf_counter() - began)
    last = statistics.quantiles(seconds[1:], n=20)[-1]  # the first one loads the base
    yield from promised(f"one of {LOADED} personas loads, 95 in 100", LOADS_IN, [last])


def while_adapting(rounds: int) -> Iterator[Ratio | Figures]:
    """Compare the time to the first token of a streamed reply, idle and while a persona is adapted."""
    del rounds  # each reply counts
    with _workspace() as home, serving.ours(home, home / "menura.log") as address:
        ask = partial(serving.asked, address, interop.BASE, list(range(100, 140)), {})
        ask()
        idle = [ask()[1] for _ in range(ASKED)]
        job = _job(address, interop.made_up(1) * 8)
        busy = []
        while len(busy) < ASKED:
            busy.append(ask()[1])
        if _request(address, "GET", f"/api/jobs/{job}")["state"] != "running":
            raise ConfigError("the persona was adapted before all replies had come", hint="give it more dialogues")
        _request(address, "DELETE", f"/api/jobs/{job}")
    what, peer = "first token while a persona is adapted", "menura, idle"
    took, alone = statistics.median(busy), statistics.median(idle)
    yield Figures(SERVER, ((what, f"{took:.2f} s", f"{WAITS_AT_MOST:g} times an idle server's {alone:.2f} s"),))
    ratio = [a / b for a, b in zip(sorted(idle), sorted(busy), strict=True)]
    yield Ratio(what, peer, statistics.median(ratio), min(ratio), max(ratio), ASKED, 1 / WAITS_AT_MOST)


def promised(what: str, seconds: float, took: list[float]) -> Iterator[Ratio | Figures]:
    """Give what something takes, and how many times quicker that is than promised."""
    yield Figures(SERVER, ((what, f"{statistics.median(took):.3f} s", f"{seconds:g} s"),))
    ratios = [seconds / one for one in took]
    yield Ratio(what, "the promise", statistics.median(ratios), min(ratios), max(ratios), len(ratios), 1.0)


@contextmanager
def _workspace() -> Iterator[Path]:
    """Give a workspace without personas while the block runs; its bases are this machine's."""
    folder, before = bases.folder_of(interop.BASE).resolve().parent, os.environ.get("MENURA_HOME")
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "bases").symlink_to(folder)
        os.environ["MENURA_HOME"] = home
        try:
            yield Path(home)
        finally:
            os.environ.pop("MENURA_HOME")
            if before is not None:
                os.environ["MENURA_HOME"] = before


def _job(address: str, dialogues: list[Dialogue]) -> str:
    """Start adapting a persona; return the job's id once it runs."""
    text = "\n\n".join("\n".join(f"{turn.speaker}: {turn.text}" for turn in one.turns) for one in dialogues)
    body = {"text": text, "speaker": "person", "settings": {"inner.epochs": 8}}
    job: str = _request(address, "POST", "/api/personas/someone/adapt", body)["job"]
    until = time.monotonic() + 60
    while _request(address, "GET", f"/api/jobs/{job}")["state"] == "waiting" and time.monotonic() < until:
        time.sleep(0.1)
    return job


def _request(address: str, method: str, path: str, body: object = None) -> dict[str, str]:
    connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
    content = None if body is None else json.dumps(body)
    connection.request(method, path, content, {"Content-Type": "application/json", "Authorization": "Bearer any"})
    with connection.getresponse() as reply:
        read = reply.read()
        if reply.status >= 400:
            raise SystemExit(f"{method} {path}: {reply.status} {read[:500]!r}")
        made: dict[str, str] = json.loads(read) if read else {}
        return made
