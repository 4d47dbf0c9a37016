"""A disk that is full, or fails, is told to the caller: what was there is served on, and no space is lost (D2)."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import counts
import one_save
import pytest
import torch
from fake_engine import FakeEngine
from fastapi import FastAPI
from local_server import BEARER, ask
from plain_persona import made_persona

import menura
from menura.artefacts import persona_store
from menura.artefacts.files import home
from menura.cli.main import run
from menura.errors import StorageError
from menura.serve.app import create_app
from menura.serve.database.database import Database
from menura.serve.http.keys import KeyStore
from menura.serve.jobs.jobs import Jobs
from menura.serve.last_use import LastUse
from menura.serve.services import Services
from menura.serve.settings import ServerSettings

SIZES = counts.count(full_count=5, quick_count=1)  # of disks: 512 KiB and up
PERSONA = 64 << 10  # bytes
CALLS = [
    (call, when) for call, most in (("write", 2), ("fsync", 4), ("chmod", 2), ("rename", 2)) for when in range(most)
]
FAULTS = [(call, when + 1, error) for call, when in CALLS for error in ("EIO", "ENOSPC", "EDQUOT")]
TRIED = FAULTS[:: counts.count(full_count=1, quick_count=11)]  # some of each error


@pytest.fixture(params=[512 << number for number in range(SIZES)])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a workspace on a disk of some KiB; skip where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={request.param}k,mode=700", "menura-test", str(folder)]
    if not shutil.which("mount") or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("no file system may be mounted here; the limit of file sizes stands in for it below")
    monkeypatch.setenv("MENURA_HOME", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def large_persona(name: str, number: int) -> Any:
    stream = torch.Generator().manual_seed(number)
    return made_persona(name, weights={"w": torch.randn(PERSONA // 4, generator=stream)})


@contextmanager
def application() -> Iterator[FastAPI]:
    """Give the server's application on the workspace of now."""
    settings, database = ServerSettings(), Database()
    made = Jobs(settings.jobs, database)
    try:
        yield create_app(Services(FakeEngine(), settings, KeyStore(), database, made, LastUse(database)))
    finally:
        made.close()
        database.close()


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def used() -> int:
    return shutil.disk_usage(home()).used


def files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (home() / "personas").iterdir()}


def request(app: FastAPI, method: str, path: str, body: object = None) -> tuple[int, Any]:
    reply = ask(app, method, path, json=body, headers=BEARER)
    return reply.status_code, reply.json() if reply.content else None


def filled_up(folder: Path) -> Path:
    """Write a file of all that is free."""
    path = folder / "other"
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return path


def save_for_ever(kept: list[bytes], space: list[int]) -> None:
    """Save one version of a persona after another; note the bytes of each, and the space that is then in use."""
    while True:
        persona_store.save(large_persona("anna", len(kept)))
        kept.append(persona_store.path_of("anna").read_bytes())
        space.append(used())


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_refuses_what_is_new_and_serves_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    kept: list[bytes] = []
    space: list[int] = []
    with application() as app:
        with pytest.raises(StorageError) as caught:
            save_for_ever(kept, space)
        assert (caught.value.problems[0].code, caught.value.exit_code) == ("storage_full", 5)
        assert len(kept) > 1
        assert used() == space[-1], "what was written in vain is given back"
        held = files()
        assert [held[f"{name}.persona"] for name in (*persona_store.versions("anna"), "anna")] == kept
        assert run(["persona", "rename", "anna", "bert"]) == 5
        assert "storage_full" in capsys.readouterr().err
        status, told = request(app, "PATCH", "/api/personas/anna", {"name": "bert"})
        assert (status, told["code"]) == (507, "storage_full")
        assert request(app, "GET", "/api/personas/anna")[0] == 200
        assert files() == held
        assert request(app, "DELETE", "/api/personas/anna")[0] == 204
        assert used() < space[0]


def test_a_server_that_finds_the_disk_full_says_so_and_begins_when_there_is_room(small_disk: Path) -> None:
    other = filled_up(small_disk)
    with pytest.raises(StorageError) as caught, application():
        pass
    assert caught.value.problems[0].code == "storage_full"
    other.unlink()
    with application() as app:
        assert request(app, "GET", "/api/chats")[0] == 200


def test_on_a_full_disk_a_message_is_refused_and_the_chat_is_as_it_was(small_disk: Path) -> None:
    persona_store.save(made_persona("anna"))
    with application() as app:
        _, chat = request(app, "POST", "/api/chats", {"persona": "anna", "title": "t"})
        url = f"/api/chats/{chat['id']}/messages"
        assert request(app, "POST", url, {"role": "user", "text": "kept"})[0] == 201
        other = filled_up(small_disk)
        statuses = [request(app, "POST", url, {"role": "user", "text": "x" * 4000}) for _ in range(40)]
        refused = [told for status, told in statuses if status != 201]
        assert refused
        assert {told["code"] for told in refused} == {"storage_full"}
        assert {status for status, _ in statuses} <= {201, 507}
        status, told = request(app, "GET", f"/api/chats/{chat['id']}")
        written = 1 + sum(status == 201 for status, _ in statuses)
        assert (status, len(told["messages"])) == (200, written)
        other.unlink()
        assert request(app, "POST", url, {"role": "user", "text": "again"})[0] == 201


@pytest.mark.usefixtures("empty_workspace")
def test_a_limit_of_file_sizes_is_told_and_nothing_is_changed(capsys: pytest.CaptureFixture[str]) -> None:
    persona_store.save(large_persona("anna", 0))
    held = files()
    with application() as app, no_file_larger_than(PERSONA // 2):
        exit_code = run(["persona", "rename", "anna", "bert"])
        status, told = request(app, "PATCH", "/api/personas/anna", {"name": "bert"})
        assert request(app, "GET", "/api/personas/anna")[0] == 200
    assert (exit_code, status, told["code"]) == (5, 507, "storage_full")
    assert "ulimit -f" in capsys.readouterr().err
    assert files() == held


@pytest.mark.usefixtures("empty_workspace")
@pytest.mark.parametrize(("call", "when", "error"), TRIED)
def test_a_disk_that_fails_at_any_step_of_a_save_loses_nothing(call: str, when: int, error: str) -> None:
    if not shutil.which("strace"):
        pytest.skip("no strace here: apt-get install strace")
    old, new = (made_persona("anna", facts=(fact,)).packed() for fact in ("old", "new"))
    persona_store.save(made_persona("anna", facts=("old",)))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(menura.__file__).parents[1]), str(Path(one_save.__file__).parent)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    inject = [
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:error={error}:when={when}",
    ]
    words = ["strace", *inject, sys.executable, one_save.__file__]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if "ptrace" in done.stderr.lower():
        pytest.skip("strace may not trace here")
    wanted = "storage_error" if error == "EIO" else "storage_full"
    assert (done.returncode, done.stdout) == (5, f"{wanted}\n"), done.stderr
    if (call, when) == ("fsync", 4):  # behind the last renaming
        assert files() == {"anna@1.persona": old, "anna.persona": new}
    else:
        assert files() == {"anna.persona": old}
