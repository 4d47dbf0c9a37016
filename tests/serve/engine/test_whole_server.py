"""``menura serve`` as a process, asked by OpenAI's own client, by lm-eval's request and by sockets that go away."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
from counts import count
from serve.made_personas import make_persona, tiny

import menura
from menura import api
from menura.adaptation.weights import swapped_weights
from menura.artefacts import persona_store
from menura.artefacts.loading import LoadedModel

HEADERS = {"Authorization": "Bearer any"}
SECONDS = 60.0


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    patch = pytest.MonkeyPatch()
    patch.setenv("MENURA_HOME", str(tmp_path_factory.mktemp("whole")))
    made = tiny()
    for name in ("ana", "ben"):
        make_persona(made, name)
    yield made
    patch.undo()


@pytest.fixture
def own_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedModel:
    """Use a workspace that no other server has: one server at a time may write to a database."""
    monkeypatch.setenv("MENURA_HOME", str(tmp_path))
    made = tiny()
    make_persona(made, "ana")
    return made


@contextmanager
def served(*words: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Run a server on the workspace of now; give its address."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(menura.__file__).parents[1])}
    line = [sys.executable, "-m", "menura", "serve", "--port", "0", "--offline", *words]
    process = subprocess.Popen(line, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        told = process.stdout.readline()
        assert "http://127.0.0.1:" in told, told
        yield told.split()[2], process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def address(loaded: LoadedModel) -> Iterator[str]:
    del loaded
    with served("--slots", "8") as (found, _):
        yield found


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="any", timeout=SECONDS, max_retries=0) as made:
        yield made


def asked(text: str = "hello") -> list[Any]:
    return [{"role": "user", "content": text}]


def test_the_official_client_lists_streams_and_gets_candidates(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} >= {"ana", "ben", "tiny"}
    whole = client.chat.completions.create(model="ana", messages=asked(), seed=1, max_tokens=12, n=3)
    assert [choice.index for choice in whole.choices] == [0, 1, 2]
    pieces = client.chat.completions.create(model="ana", messages=asked(), seed=1, max_tokens=12, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in pieces if chunk.choices)
    assert text == whole.choices[0].message.content
    alone = api.agents(["ana"], offline=True)["ana"]
    decoding = api.decoding(0.92, 0.8)
    assert text == alone.reply("hello", decoding=decoding, max_new_tokens=12, seed=1)


def test_errors_are_the_client_s_own_types(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nobody", messages=asked())
    assert caught.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="ana", messages=[])


def test_a_score_over_http_is_the_sum_that_evaluation_makes(address: str, loaded: LoadedModel) -> None:
    ids = list(loaded.encoder.tokenizer.encode("did you water the fern, and the basil?"))
    # What lm-eval's local-completions sends.
    body = {"model": "ana", "prompt": [ids], "max_tokens": 1, "temperature": 0, "logprobs": 1, "echo": True, "seed": 1}
    told = httpx.post(f"{address}/v1/completions", json=body, headers=HEADERS, timeout=SECONDS).json()
    ours = told["choices"][0]["logprobs"]["token_logprobs"]
    assert ours[0] is None
    agent = api.agents(["ana"], offline=True)["ana"]
    model: Any = agent.loaded.model
    with torch.no_grad(), swapped_weights(model, agent.weights):
        wanted = model.logits(torch.tensor([ids])).log_softmax(-1)[0]
    summed = sum(float(wanted[at, token]) for at, token in enumerate(ids[1:]))
    assert sum(ours[1 : len(ids)]) == pytest.approx(summed, abs=1e-3)


def test_clients_that_go_away_free_their_rows_within_a_second(address: str) -> None:
    body = {"model": "ana", "messages": asked(), "max_tokens": 250, "stream": True}

    def leave() -> None:
        with httpx.stream(
            "POST", f"{address}/v1/chat/completions", json=body, headers=HEADERS, timeout=SECONDS
        ) as reply:
            next(reply.iter_lines())

    threads = [threading.Thread(target=leave) for _ in range(count(full_count=1000, quick_count=16))]
    for some in range(0, len(threads), 8):
        for thread in threads[some : some + 8]:
            thread.start()
        for thread in threads[some : some + 8]:
            thread.join(SECONDS)
    time.sleep(1.0)
    assert "menura_running 0" in httpx.get(f"{address}/metrics").text


def test_ten_times_the_load_is_answered_whole_or_refused_with_a_time(address: str) -> None:
    body = {"model": "ben", "messages": asked(), "max_tokens": 40, "temperature": 1.0}
    statuses: list[tuple[int, bool]] = []

    def one() -> None:
        reply = httpx.post(f"{address}/v1/chat/completions", json=body, headers=HEADERS, timeout=SECONDS)
        whole = reply.status_code == 200 and reply.json()["choices"][0]["finish_reason"] in ("stop", "length")
        statuses.append((reply.status_code, whole or "retry-after" in reply.headers))

    threads = [threading.Thread(target=one) for _ in range(count(full_count=256, quick_count=60))]
    for thread in threads:
        thread.start()
    assert httpx.get(f"{address}/healthz", timeout=SECONDS).status_code == 200
    for thread in threads:
        thread.join(SECONDS)
    assert len(statuses) == len(threads)
    assert {status for status, _ in statuses} <= {200, 429}
    assert all(right for _, right in statuses)


def test_a_server_that_is_told_to_end_lets_replies_finish(own_workspace: LoadedModel) -> None:
    del own_workspace
    body = {"model": "ana", "messages": asked(), "max_tokens": 100, "stream": True}
    with served() as (address, process):
        with httpx.stream(
            "POST", f"{address}/v1/chat/completions", json=body, headers=HEADERS, timeout=SECONDS
        ) as reply:
            lines = reply.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert process.wait(SECONDS) == 0


def test_nothing_of_a_deleted_persona_is_left_in_the_workspace(own_workspace: LoadedModel) -> None:
    names = [f"canary{number}x" for number in range(count(full_count=200, quick_count=6))]
    for name in names:
        make_persona(own_workspace, name)
    home = persona_store.path_of("ana").parents[1]
    with served() as (address, process), httpx.Client(base_url=address, headers=HEADERS, timeout=SECONDS) as client:
        for name in names:
            chat = client.post("/api/chats", json={"persona": name, "title": f"secret of {name}"}).json()
            said = {"role": "user", "text": f"told to {name}"}
            assert client.post(f"/api/chats/{chat['id']}/messages", json=said).status_code < 300, chat
        for name in names[::2]:
            assert client.delete(f"/api/personas/{name}?chats=true").status_code == 204
        found = traces(home, names)
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)
    assert found == set(names[1::2])
    assert traces(home, names) == set(names[1::2])


def traces(home: Path, names: list[str]) -> set[str]:
    """Return which names occur in any byte of a workspace, as UTF-8, UTF-16 or in the name of a file."""
    found = set()
    for path in home.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for name in names:
            forms = (name.encode(), name.encode("utf-16-le"), json.dumps(name)[1:-1].encode())
            if name in path.name.split(".")[0].split("@") or any(form in content for form in forms):
                found.add(name)
    return found
