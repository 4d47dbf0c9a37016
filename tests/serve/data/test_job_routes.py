"""An adaptation is a job in a process of its own: followed, cancelled without a trace, and lost without harm."""

import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_of_two import chat_of_two
from data_app import Server, events_of, names_of, serving, written_persona

from menura import api
from menura.artefacts import persona_store
from menura.serve.database import chats, persona_notes, persona_owners
from menura.serve.database.database import Database
from menura.serve.jobs import jobs as jobs_module
from menura.serve.jobs import process
from menura.serve.jobs.adaptation_job import AdaptationJob, JobRequest
from menura.serve.jobs.jobs import Jobs
from menura.serve.jobs.process import WorkerTask
from menura.serve.settings import JobLimits, ServerSettings

# Stands for the worker: says a line, leaves half a file, and then does what the persona's name says.
STAND_IN = """
import json, os, pathlib, sys, time
asked = json.loads(sys.stdin.readline())
def emit(event, **data):
    print(json.dumps({"event": event, "data": data}), flush=True)
name = asked["arguments"]["name"]
folder = pathlib.Path(os.environ["MENURA_HOME"], "personas")
folder.mkdir(exist_ok=True)
emit("said", line="read chat.txt")
if name.startswith("stays"):
    (folder / f".{name}.persona.x1").write_text("half")
    if (folder / f"{name}.persona").exists():
        (folder / f"{name}@1.persona").write_bytes((folder / f"{name}.persona").read_bytes())
    emit("step", reply=1, replies=9, loss=2.0)
    time.sleep(600)
if name.startswith("dies"):
    (folder / f".{name}.persona.x1").write_text("half")
    os.kill(os.getpid(), 9)
if name.startswith("fails"):
    emit("failed", error="EpisodeError", problems=[dict(level="error", code="too_few_dialogues", message="too few",
         hint="more", count=1, file="", line=None)])
    sys.exit()
time.sleep(0.2 if name.startswith("slow") else 0)
(folder / f"{name}.persona").write_text("whole")
emit("done", name=name, changed=True, earlier="")
"""


@pytest.fixture
def server(empty_workspace: Path) -> Iterator[Server]:
    with serving() as made:
        yield made


@pytest.fixture
def stand_in(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """Give a server whose worker is the one above."""
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN, encoding="utf-8")
    monkeypatch.setattr(process, "COMMAND", (sys.executable, str(script)))
    return server


def asked(server: Server, name: str, caller: str = "", **body: Any) -> str:
    body = body or {"text": "a: b\nc: d"}
    answer = server.as_(caller).post(f"/api/personas/{name}/adapt", json=body)
    assert answer.status_code == 202, answer.text
    job: str = answer.json()["job"]
    return job


def found(server: Server, job: str) -> AdaptationJob:
    return server.services.jobs.find(job, "")


def until(condition: Any) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_a_pasted_chat_becomes_a_persona(server: Server, empty_workspace: Path) -> None:
    settings = {"inner.lr": 1e-3, "inner.epochs": 2}
    job = asked(server, "tomo", text=chat_of_two(), base="tiny", k=3, settings=settings, remember=True)
    events = events_of(server.as_().get(f"/api/jobs/{job}/events").text)
    assert events[-1][1]["state"] == "done", events[-1]
    names = names_of(events)
    assert {"said", "control", "step", "check"} <= set(names)
    steps = [data for name, data in events if name == "step"]
    assert steps[-1]["reply"] == steps[-1]["replies"] == 6
    check = next(data for name, data in events if name == "check")
    assert check["replies"] == 4
    assert check["verdict"][0].startswith("Tomo's held-out replies became")
    said = " ".join(data["line"] for name, data in events if name == "said")
    assert "pasted.txt" in said
    assert str(empty_workspace) not in json.dumps(events)
    facts = server.as_().get("/api/personas/tomo").json()
    assert (facts["speaker"], facts["dialogues"], facts["replies"], facts["remembered"]) == ("Tomo", 3, 6, 12)
    assert facts["recipe"]["method"]["inner"]["lr"] == 1e-3
    assert not list((empty_workspace / "uploads").iterdir())
    rest = server.as_().get(f"/api/jobs/{job}/events", headers={"Last-Event-ID": str(len(events) - 1)}).text
    assert rest.count("event:") == 1
    package = server.as_().get("/api/personas/tomo/export").content
    url = "/api/personas/import?name=twin"
    assert server.as_().post(url, content=package).status_code == 201
    assert persona_store.load("twin").weights.keys() == persona_store.load("tomo").weights.keys()
    assert server.as_().post(url, content=package).status_code == 200
    peft = server.as_().get("/api/personas/tomo/export?format=peft").content
    answer = server.as_().post("/api/personas/import?name=third&filename=tomo.zip&base=tiny", content=peft)
    assert answer.status_code == 201, answer.text
    assert api.persona_facts("third")["recipe"]["base_by_its_own_account"] == "tiny"
    assert not list((empty_workspace / "uploads").iterdir())


def test_the_events_of_a_job_are_numbered_and_replayed(stand_in: Server) -> None:
    job = asked(stand_in, "slow")
    text = stand_in.as_().get(f"/api/jobs/{job}/events").text
    assert [line for line in text.splitlines() if line.startswith("id: ")] == [f"id: {n}" for n in range(1, 5)]
    assert [data.get("state") for name, data in events_of(text) if name == "state"] == ["waiting", "running", "done"]
    assert stand_in.as_().get(f"/api/jobs/{job}/events").text == text
    after = stand_in.as_().get(f"/api/jobs/{job}/events", headers={"Last-Event-ID": "3"}).text
    assert after == text[text.index("id: 4") :]


def test_a_cancelled_job_leaves_nothing(stand_in: Server, empty_workspace: Path) -> None:
    job = asked(stand_in, "stays")
    until(lambda: [event for event in found(stand_in, job).events if event.name == "step"])
    assert (empty_workspace / "personas" / ".stays.persona.x1").exists()
    pid = found(stand_in, job).process._process.pid  # type: ignore[union-attr]
    assert stand_in.as_().delete(f"/api/jobs/{job}").status_code == 204
    assert stand_in.as_().get(f"/api/jobs/{job}").json()["state"] == "cancelled"
    assert not list((empty_workspace / "personas").iterdir())
    assert not list((empty_workspace / "uploads").iterdir())
    assert persona_owners.owner_of(stand_in.services.database, "stays") is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert stand_in.as_().delete(f"/api/jobs/{job}").status_code == 204


def test_cancelling_leaves_the_version_that_was_there(stand_in: Server, empty_workspace: Path) -> None:
    written_persona("stays")
    before = persona_store.path_of("stays").read_bytes()
    job = asked(stand_in, "stays")
    until(lambda: [event for event in found(stand_in, job).events if event.name == "step"])
    assert persona_store.versions("stays") == ["stays@1"]
    stand_in.as_().delete(f"/api/jobs/{job}")
    assert persona_store.versions("stays") == []
    assert persona_store.path_of("stays").read_bytes() == before


def test_a_worker_that_dies_fails_its_job_and_the_next_goes_on(stand_in: Server, empty_workspace: Path) -> None:
    lost, after = asked(stand_in, "dies"), asked(stand_in, "whole")
    until(lambda: found(stand_in, after).state == "done")
    shown = stand_in.as_().get(f"/api/jobs/{lost}").json()
    assert (shown["state"], shown["problems"][0]["code"]) == ("failed", "lost_worker")
    assert "signal 9" in shown["problems"][0]["message"]
    assert [path.name for path in (empty_workspace / "personas").iterdir()] == ["whole.persona"]


def test_a_job_fails_with_what_the_worker_says(stand_in: Server) -> None:
    job = asked(stand_in, "fails")
    until(lambda: found(stand_in, job).state == "failed")
    assert stand_in.as_().get(f"/api/jobs/{job}").json()["problems"][0]["code"] == "too_few_dialogues"
    assert persona_owners.owner_of(stand_in.services.database, "fails") is None


def test_so_many_jobs_run_and_wait_as_may(
    empty_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN, encoding="utf-8")
    monkeypatch.setattr(process, "COMMAND", (sys.executable, str(script)))
    with serving(replace(ServerSettings(), jobs=JobLimits(running=1, waiting=2))) as server:
        made = [asked(server, f"stays{number}") for number in range(3)]
        assert [found(server, job).state for job in made] == ["running", "waiting", "waiting"]
        answer = server.as_().post("/api/personas/more/adapt", json={"text": "a: b"})
        assert (answer.status_code, answer.json()["code"]) == (429, "overloaded")
        assert persona_owners.owner_of(server.services.database, "more") is None
        assert len(list((empty_workspace / "uploads").iterdir())) == 3
        server.as_().delete(f"/api/jobs/{made[1]}")
        assert found(server, made[1]).state == "cancelled"
        listed = server.as_().get("/api/jobs?limit=2").json()
        assert [one["persona"] for one in listed["jobs"]] == ["stays2", "stays1"]
        assert server.as_().get(f"/api/jobs?limit=2&after={listed['next']}").json()["jobs"][0]["persona"] == "stays0"
        server.services.jobs.close()
        assert [found(server, job).state for job in made] == ["failed", "cancelled", "failed"]
        assert not list((empty_workspace / "uploads").iterdir())


def test_a_persona_is_adapted_by_one_job_at_a_time_and_stays_meanwhile(stand_in: Server) -> None:
    written_persona("stays")
    asked(stand_in, "stays")
    client = stand_in.as_()
    for answer in (
        client.post("/api/personas/stays/adapt", json={"text": "a: b"}),
        client.patch("/api/personas/stays", json={"name": "other"}),
        client.delete("/api/personas/stays/memory"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "locked")
    assert client.get("/api/personas/stays").json()["adapting"]


def test_deleting_a_persona_ends_its_job_first(stand_in: Server, empty_workspace: Path) -> None:
    job = asked(stand_in, "stays")
    until(lambda: (empty_workspace / "personas" / ".stays.persona.x1").exists())
    assert stand_in.as_().delete("/api/personas/stays").status_code == 204
    assert found(stand_in, job).state == "cancelled"
    assert not list((empty_workspace / "personas").iterdir())


def test_a_job_is_forgotten_after_a_day(stand_in: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    job = asked(stand_in, "whole")
    until(lambda: found(stand_in, job).state == "done")
    now = time.time()
    monkeypatch.setattr(jobs_module.time, "time", lambda: now + 90_000)
    assert stand_in.as_().get("/api/jobs").json()["jobs"] == []
    assert stand_in.as_().get(f"/api/jobs/{job}").status_code == 404


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"text": "a: b", "base": "/etc"}, "unknown_base"),
        ({"text": "a: b", "base": "some/hub-id"}, "unknown_base"),
        ({"text": "a: b", "settings": {"inner.lr": 7}}, "invalid_value"),
        ({"text": "a: b", "settings": {"inner.epochs": 1.5}}, "invalid_value"),
        ({"text": "a: b", "settings": {"model.init_from": 1}}, "unknown_setting"),
        ({"text": "a: b", "reading": {"gap": "soon"}}, "config"),
        ({"text": "a: b", "more": True}, "model_not_found"),
        ({"upload": "0" * 32}, "not_found"),
        ({"upload": "../../etc"}, "not_found"),
        ({"chat": "0" * 32}, "not_found"),
    ],
)
def test_what_cannot_be_meant_starts_no_job_and_keeps_no_name(
    server: Server, empty_workspace: Path, body: dict[str, Any], code: str
) -> None:
    answer = server.as_("anna").post("/api/personas/anna-2/adapt", json=body)
    assert (answer.status_code >= 400, answer.json()["code"]) == (True, code)
    assert server.services.jobs.of("a1") == []
    assert persona_owners.owner_of(server.services.database, "anna-2") is None
    assert not list((empty_workspace / "uploads").glob("*"))


@pytest.mark.parametrize(
    "body", [{}, {"text": "a", "upload": "b"}, {"text": "a", "k": 0}, {"text": "a", "x": 1}, {"text": "a", "k": "3"}]
)
def test_a_body_of_another_shape_is_refused(server: Server, body: dict[str, Any]) -> None:
    assert server.as_().post("/api/personas/anna/adapt", json=body).status_code == 422


def test_only_good_turns_of_a_chat_are_given_to_a_job(
    server: Server, monkeypatch: pytest.MonkeyPatch, empty_workspace: Path
) -> None:
    written_persona("anna")
    database = server.services.database
    chat = chats.new_chat(database, "", "anna", 1, "")["id"]
    for number in range(2):
        chats.add_message(database, "", chat, chats.NewMessage("user", f"question {number}"))
        chats.add_message(database, "", chat, chats.NewMessage("persona", f"answer {number}"))
    taken: list[tuple[JobRequest, str]] = []

    def submit(request: JobRequest) -> AdaptationJob:
        taken.append((request, Path(request.task.arguments["file"]).read_text(encoding="utf-8")))
        return AdaptationJob("0" * 32, request)

    monkeypatch.setattr(server.services.jobs, "submit", submit)
    refused = server.as_().post("/api/personas/anna/adapt", json={"chat": chat, "more": True})
    assert refused.json()["code"] == "empty"
    chats.change_message(database, "", chat, 3, {"rating": "good"})
    asked(server, "anna", chat=chat, more=True, remember=True)
    request, written = taken[0]
    dialogue = json.loads(written)
    assert [turn["text"] for turn in dialogue["turns"]] == ["question 0", "answer 0", "question 1", "answer 1"]
    assert dialogue["context_only"] == [1]
    settings = request.task.arguments["settings"]
    assert (settings["speaker"], settings["k"], settings["more"]) == ("anna", 1, True)


def test_a_worker_ends_when_the_server_does(empty_workspace: Path) -> None:
    arguments = {"name": "anna", "file": "no.txt", "filename": "", "reading": {}, "settings": {}}
    made = process.WorkerProcess(WorkerTask("adapt", arguments))
    assert made._process.stdin
    time.sleep(0.5)  # it imports torch now, for seconds
    made._process.stdin.close()
    assert made._process.wait(20) == 1
    made._close()


def test_a_task_that_is_none_is_our_mistake_and_told_without_a_traceback() -> None:
    (event,) = process.WorkerProcess(WorkerTask("nothing", {})).events()
    assert event[1]["problems"][0]["code"] == "internal"
    assert "KeyError" in event[1]["problems"][0]["message"]


def test_a_task_takes_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = "import sys, time; sys.stdin.readline(); time.sleep(600)"
    monkeypatch.setattr(process, "COMMAND", (sys.executable, "-c", waits))
    with pytest.raises(process.PeerError, match=f"signal {int(signal.SIGKILL)}"):
        process.result_of(WorkerTask("preview", {}), 0.3)


def test_a_job_that_ran_when_the_server_was_killed_has_failed_and_what_it_said_is_kept(
    stand_in: Server, tmp_path: Path
) -> None:
    job = asked(stand_in, "stays")
    until(lambda: any(event.name == "step" for event in found(stand_in, job).events))
    with (
        closing(sqlite3.connect(stand_in.services.database.path)) as now,
        closing(sqlite3.connect(tmp_path / "copy")) as copy,
    ):
        now.backup(copy)  # what a server that is killed now would leave
    with closing(Database(tmp_path / "copy")) as database:
        later = Jobs(JobLimits(), database)
    (kept,) = later.of("")
    shown = kept.shown()
    assert (shown["id"], shown["persona"], shown["kind"], shown["state"]) == (job, "stays", "adapt", "failed")
    assert [one["code"] for one in shown["problems"]] == ["server_stopped"]
    assert ("said", {"line": "read pasted.txt"}) in [(event.name, event.data) for event in kept.events]
    assert not later.working_on("stays")


def test_jobs_are_listed_and_followed_after_a_restart(
    empty_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "stand_in.py"
    script.write_text(STAND_IN, encoding="utf-8")
    monkeypatch.setattr(process, "COMMAND", (sys.executable, str(script)))
    with serving() as server:
        done = asked(server, "tomo")
        until(lambda: found(server, done).state == "done")
        running = asked(server, "stays")
        waiting = asked(server, "stays-too")
        cancelled = asked(server, "stays-also")
        server.as_().delete(f"/api/jobs/{cancelled}")
        until(lambda: any(event.name == "step" for event in found(server, running).events))
    with serving() as server:
        rows = {row["id"]: row for row in server.as_().get("/api/jobs").json()["jobs"]}
        assert {job: row["state"] for job, row in rows.items()} == {
            done: "done", running: "failed", waiting: "failed", cancelled: "cancelled"
        }  # fmt: skip
        assert {problem["code"] for row in rows.values() for problem in row["problems"]} == {"server_stopped"}
        events = events_of(server.as_().get(f"/api/jobs/{done}/events").text)
        assert names_of(events) == ["state", "state", "said", "state"]
        assert rows[running]["step"] == {"reply": 1, "replies": 9, "loss": 2.0}
        again = asked(server, "stays")  # the name is free
        server.as_().delete(f"/api/jobs/{again}")


def test_records_of_jobs_go_with_their_persona_and_after_a_day(stand_in: Server, empty_workspace: Path) -> None:
    written_persona("fails")
    job = asked(stand_in, "fails")
    until(lambda: found(stand_in, job).state == "failed")
    assert b"too_few_dialogues" in (empty_workspace / "menura.db-wal").read_bytes()
    stand_in.as_().delete("/api/personas/fails?chats=true")
    files = (path for path in empty_workspace.glob("menura.db*") if path.suffix != ".lock")
    assert not any(b"too_few_dialogues" in path.read_bytes() for path in files)
    assert Jobs(JobLimits(), stand_in.services.database).of("") == []
    old = asked(stand_in, "tomo")
    until(lambda: found(stand_in, old).state == "done")
    assert Jobs(JobLimits(kept_seconds=-1), stand_in.services.database).of("") == []
    assert stand_in.services.database.rows("SELECT * FROM job_events") == []


def test_consent_is_noted_with_the_persona_and_goes_where_none_was_made(stand_in: Server) -> None:
    database = stand_in.services.database
    for name in ("tomo", "fails", "uma"):
        job = asked(stand_in, name, text="a: b", consent=name != "uma")
        until(lambda job=job: found(stand_in, job).state in ("done", "failed"))
    given = {name: persona_notes.consent_of(database, name) for name in ("tomo", "fails", "uma")}
    assert given == {"tomo": pytest.approx(time.time(), abs=60), "fails": None, "uma": None}
