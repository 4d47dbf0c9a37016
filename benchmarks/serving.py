"""Row group: 32 clients over HTTP, each with a persona of its own, against vLLM without a GPU and the same LoRA.

Both servers run meanwhile, each on as many threads as there are cores, and are asked in turn. vLLM is in an environment
of its own (``make interop`` makes it); the time to the first token is in a table of its own.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks import interop
from benchmarks.paired import Figures, Ratio, Row, against, ratio, timed
from menura import api
from menura.artefacts.bases import base as bases

CLIENTS, NEW = 32, 32
PEER = "vLLM 0.32, CPU build"
OURS, ONE, BARE = "menura", "menura, one persona for all clients", "menura, no persona"
PROMISED, WITHIN = 1.5, 1 / 1.3
PYTHON = Path(os.environ.get("MENURA_INTEROP_PYTHON", "build/interop/bin/python"))
HOME = Path(os.environ.get("MENURA_INTEROP_HOME", "build/interop-home"))


def rows() -> dict[str, Row]:
    """Return the rows by name; the base must be on this machine, and the environment with vLLM."""
    return {"serving": serving}


def serving(rounds: int) -> Iterator[Ratio | Figures]:
    """Compare the seconds that both servers take for all clients."""
    if not PYTHON.exists() or not bases.folder_of(interop.BASE).exists():
        print(f"  left out: no {PYTHON} or no base {interop.BASE}; make interop makes both", flush=True)
        return
    folder, home = bases.folder_of(interop.BASE).resolve(), HOME.resolve()
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "bases").exists():
        (home / "bases").symlink_to(folder.parent)
    os.environ["MENURA_HOME"] = str(home)
    model = api.load(interop.BASE, offline=True, assignments=interop.LORA)
    people = interop.personas(api.Model(model.loaded, method=interop.HOW), CLIENTS)
    prompts = [interop.prompt_of(one, interop.ASKED[at % len(interop.ASKED)]).prefix for at, one in enumerate(people)]
    names = [one.name for one in people]
    ends = {"stop_token_ids": list(model.loaded.encoder.chat_format.ends)}
    with (
        ours(home, home / "menura.log") as mine,
        interop.served(PYTHON.absolute(), folder, home / "vllm-serving.log", at_once=CLIENTS) as theirs,
    ):
        first: dict[str, list[float]] = {}
        ways = {
            OURS: partial(all_clients, mine, names, prompts, {}, first.setdefault(OURS, [])),
            PEER: partial(all_clients, theirs, names, prompts, ends, first.setdefault(PEER, [])),
            ONE: partial(all_clients, mine, names[:1] * CLIENTS, prompts, {}, first.setdefault(ONE, [])),
            BARE: partial(all_clients, mine, [interop.BASE] * CLIENTS, prompts, {}, first.setdefault(BARE, [])),
        }
        told = {name: way() for name, way in ways.items()}
        seconds = timed(ways, rounds, time.perf_counter)
    yield _speeds(told, seconds, first)
    what = f"{CLIENTS} clients over HTTP, {CLIENTS} LoRA personas, {NEW} tokens each, greedy"
    yield from against(what, OURS, seconds, {PEER: PROMISED})
    yield ratio(what, ONE, seconds[OURS], seconds[ONE], WITHIN)
    yield ratio(what, BARE, seconds[OURS], seconds[BARE])


def _speeds(
    told: Mapping[str, int], seconds: Mapping[str, Sequence[float]], first: Mapping[str, Sequence[float]]
) -> Figures:
    """Return a table of medians over rounds, and of the first tokens of all clients in all rounds."""
    rows = (
        (name, f"{tokens / statistics.median(seconds[name]):.0f}", f"{statistics.median(first[name]):.2f} s")
        for name, tokens in told.items()
    )
    return Figures((f"{CLIENTS} clients answered by", "tokens/s", "first token"), tuple(rows))


def all_clients(
    address: str, names: Sequence[str], prompts: Sequence[Sequence[int]], more: Mapping[str, Any], first: list[float]
) -> int:
    """Let all clients ask at once; return the number of tokens, and note the seconds to each first one."""
    with ThreadPoolExecutor(len(names)) as clients:
        found = list(clients.map(partial(asked, address, more=more), names, prompts))
    first += [seconds for _, seconds in found]
    return sum(tokens for tokens, _ in found)


def asked(address: str, name: str, prompt: Sequence[int], more: Mapping[str, Any]) -> tuple[int, float]:
    """Stream one greedy reply to a prompt of token ids; return how many tokens came, and when the first.

    ``more`` is what the server has to be told beside: ours knows where a chat format ends, vLLM does not.
    """
    body = {
        "model": name,
        "prompt": list(prompt),
        "max_tokens": NEW,
        "min_tokens": NEW,
        "temperature": 0,
        "stream": True,
    }
    body |= {"stream_options": {"include_usage": True}, **more}
    parts = urlsplit(address)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=interop.ANSWER_SECONDS)
    began, first, tokens = time.perf_counter(), 0.0, 0
    path = "/v1/completions"
    headers = {"Content-Type": "application/json", "Authorization": "Bearer any"}
    connection.request("POST", path, json.dumps(body), headers)
    with connection.getresponse() as reply:
        if reply.status != HTTPStatus.OK:
            raise SystemExit(f"{address}: {reply.status} {reply.read(500)!r}")
        for line in reply:
            if not line.startswith(b"data: {"):
                continue
            told: dict[str, Any] = json.loads(line[6:])
            if "error" in told:
                raise SystemExit(f"{address}: {told['error']}")
            if told.get("choices") and told["choices"][0].get("text") and not first:
                first = time.perf_counter() - began
            tokens = (told.get("usage") or {}).get("completion_tokens") or tokens
    connection.close()
    return tokens, first


@contextmanager
def ours(home: Path, log: Path) -> Iterator[str]:
    """Run our server while the block runs; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "menura", "serve", "--port", str(port), "--slots", str(CLIENTS), "--offline"]
    with log.open("w", encoding="utf-8") as file:
        threads = {"OMP_NUM_THREADS": str(os.cpu_count() or 1), "MENURA_HOME": str(home)}
        process = subprocess.Popen(words, env=os.environ | threads, stdout=file, stderr=file, start_new_session=True)
        try:
            interop.wait(process, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
        finally:
            interop.ended(process)
