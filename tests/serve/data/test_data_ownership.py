"""What belongs to one key is to another as if it were not there; no name leads out of the workspace."""

import hashlib
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from data_app import Server, events_of, serving, written_persona

from menura.artefacts import persona_store
from menura.artefacts.files import home
from menura.serve.database import persona_notes, persona_owners
from menura.serve.jobs.adaptation_job import AdaptationJob, JobRequest
from menura.serve.jobs.process import WorkerTask
from menura.serve.settings import JobLimits, ServerSettings

UNKNOWN = {"name": "anna-9", "place": "0", "number": "1"}  # of anna's too, but for ids
BODIES: dict[str, Any] = {
    "PATCH /api/personas/{name}": {"name": "bert"},
    "POST /api/personas/{name}/adapt": {"text": "a: b", "more": True},
    "POST /api/personas/{name}/back": {},
    "PATCH /api/chats/{chat_id}": {"title": "mine"},
    "POST /api/chats/{chat_id}/messages": {"role": "user", "text": "mine"},
    "PATCH /api/chats/{chat_id}/messages/{place}": {"rating": "good"},
    "POST /api/chats/{chat_id}/reply": {"text": "mine"},
    "POST /api/compare/{comparison_id}/vote": {"choice": 0},
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Give a server beside files that are nobody's business."""
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("secret", "secret.persona", "secret.json"):
        (outside / name).write_text("nobody-7f3a", encoding="utf-8")
        (tmp_path / name).write_text("nobody-7f3a", encoding="utf-8")
    with serving() as made:
        yield made


def of_anna(server: Server) -> dict[str, str]:
    """Make one of everything for anna, and return the ids by the names of path parameters."""
    client = server.as_("anna")
    written_persona("anna", words="canary")
    written_persona("bert")
    chat = client.post("/api/chats", json={"persona": "anna"}).json()["id"]
    client.post(f"/api/chats/{chat}/reply", json={"text": "canary"})
    written_persona("anna-2")
    compared = client.post("/api/compare", json={"prompt": "canary", "models": ["anna", "anna-2"]})
    upload = client.post("/api/uploads", content=b"Ann: canary\nBob: ho\n").json()["id"]
    job = AdaptationJob("f" * 32, JobRequest(WorkerTask("adapt", {}), "a1", "anna"), state="done")
    job.change_state("done")
    server.services.jobs._jobs[job.id] = job
    run = home() / "demo"
    run.mkdir()
    (run / "scores.json").write_text('{"about": {"base": "canary"}, "rows": []}', encoding="utf-8")
    return {
        "name": "anna",
        "chat_id": chat,
        "place": "1",
        "number": "1",
        "comparison_id": events_of(compared.text)[0][1]["id"],
        "upload_id": upload,
        "job_id": job.id,
        "run_id": server.as_().get("/api/runs").json()["runs"][0]["id"],
    }


def operations(server: Server) -> list[tuple[str, str, list[str]]]:
    """Return every (method, path, names of path parameters) that takes an id or a name."""
    found = []
    for path, methods in server.app.openapi()["paths"].items():
        for method, operation in methods.items():
            names = [one["name"] for one in operation.get("parameters", []) if one["in"] == "path"]
            if names:
                found.append((method.upper(), path, names))
    return found


def asked(server: Server, caller: str, method: str, path: str, ids: dict[str, str]) -> Any:
    body = BODIES.get(f"{method} {path}")
    return server.as_(caller).request(method, path.format(**ids), json=body)


def everything(folder: Path) -> str:
    """Return a hash of all files with their names."""
    summed = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        summed.update(str(path).encode())
        if path.is_file() and not path.name.startswith("menura.db"):
            summed.update(path.read_bytes())
    return summed.hexdigest()


def rows(server: Server) -> list[Any]:
    tables = ("owners", "chats", "messages", "comparisons", "votes", "jobs", "job_events", *persona_notes.NOTES)
    return [[tuple(row) for row in server.services.database.rows(f"SELECT * FROM {table}")] for table in tables]


def test_every_route_treats_anothers_object_as_if_it_were_not_there(server: Server, tmp_path: Path) -> None:
    mine = of_anna(server)
    unknown = {name: UNKNOWN.get(name, "e" * 32) for name in mine}
    files, before = everything(tmp_path), rows(server)
    found = operations(server)
    assert len(found) >= 25
    for method, path, _ in found:
        theirs = asked(server, "bert", method, path, mine)
        none = asked(server, "bert", method, path, unknown)
        assert theirs.status_code == none.status_code, (method, path)
        assert theirs.status_code in ((204, 404) if method == "DELETE" else (404,)), (method, path)
        if theirs.status_code == 404:
            said = [answer.json()["message"].replace(name, "") for answer, name in ((theirs, "anna"), (none, "anna-9"))]
            assert said[0] == said[1]
            assert theirs.json()["hint"] == none.json()["hint"]
        assert "canary" not in theirs.text
    assert everything(tmp_path) == files
    assert rows(server) == before


def test_the_owner_reaches_all_of_it(server: Server) -> None:
    mine = of_anna(server)
    order = {"GET": 0, "PATCH": 1, "POST": 2, "DELETE": 3}
    for method, path, _ in sorted(operations(server), key=lambda one: (order[one[0]], -len(one[1]))):
        renames = (method, path) == ("PATCH", "/api/personas/{name}")
        # A run is nobody's, so that a key of some personas reaches none; the others have tests of their own.
        if renames or path.startswith("/api/runs") or path.endswith(("/adapt", "/back", "/vote")):
            continue
        answer = asked(server, "anna", method, path, mine)
        assert answer.status_code in (200, 201, 204), (method, path, answer.text)


def test_lists_hold_the_callers_own_alone(server: Server) -> None:
    of_anna(server)
    lists = ["/api/chats", "/api/jobs", "/api/compare", "/api/personas"]
    for path in lists:
        assert "anna" not in server.as_("bert").get(path).text
    assert [one["name"] for one in server.as_("bert").get("/api/personas").json()["personas"]] == ["bert"]
    assert len(server.as_("anna").get("/api/jobs").json()["jobs"]) == 1


def test_a_hint_names_no_persona_of_another(server: Server) -> None:
    written_persona("anna")
    written_persona("berta")
    answer = server.as_("bert").get("/api/personas/bertha")
    assert answer.status_code == 404
    assert "berta" not in answer.json()["hint"]
    answer = server.as_("bert").post("/api/chats", json={"persona": "bertha"})
    assert "berta" not in answer.text.replace("bertha", "")


def test_a_key_may_use_what_was_made_with_it_whatever_its_patterns(server: Server) -> None:
    written_persona("zora")
    assert server.as_("bert").get("/api/personas/zora").status_code == 404
    persona_owners.note_owner(server.services.database, "zora", "b1")
    assert server.as_("bert").get("/api/personas/zora").status_code == 200
    assert server.as_("anna").get("/api/personas/zora").status_code == 404
    assert [one["name"] for one in server.as_("bert").get("/api/personas").json()["personas"]] == ["zora"]


def test_a_name_that_another_key_has_made_is_taken(server: Server) -> None:
    written_persona("zora")
    persona_owners.note_owner(server.services.database, "zora", "b1")
    persona_owners.note_owner(server.services.database, "soon", "b1")  # its job runs
    for name in ("zora", "soon"):
        for answer in (
            server.as_("anna").post(f"/api/personas/{name}/adapt", json={"text": "a: b"}),
            server.as_("anna").post(f"/api/personas/import?name={name}", content=b"a: b\nb: c\n"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")
    assert persona_owners.owner_of(server.services.database, "soon") == "b1"


def test_a_key_makes_as_many_personas_as_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MENURA_HOME", str(tmp_path / "home"))
    with serving(replace(ServerSettings(), jobs=JobLimits(personas_per_key=1))) as server:
        persona_owners.note_owner(server.services.database, "zora", "a1")
        answer = server.as_("anna").post("/api/personas/anna-7/adapt", json={"text": "a: b"})
        assert (answer.status_code, answer.json()["code"]) == (429, "rate_limit_exceeded")


def hostile_names() -> list[str]:
    """Return names that would lead somewhere else, were they part of a path."""
    climbing = ["..", "../..", "../secret", "../../secret", "../outside/secret", "....//secret", "..\\secret"]
    climbing += [f"{'../' * depth}outside/secret" for depth in range(1, 12)]
    climbing += [f"{'..' + chr(92)}" * depth + "secret" for depth in range(1, 6)]
    climbing += [f"anna/{name}" for name in ("..", "../bert", "../../secret", ".", "")]
    encoded = [quote(name, safe="") for name in climbing] + [quote(quote(name, safe=""), safe="") for name in climbing]
    odd = [
        "anna\0",
        "anna\0.png",
        "\0",
        "/etc/passwd",
        "//etc/passwd",
        "C:\\secret",
        "C:secret",
        "\\\\host\\share",
        "~",
    ]
    odd += ["~root", "CON", "NUL.persona", "anna.", "anna ", " anna", ".anna", ".", "...", "-anna", "anna@", "anna@x"]
    odd += ["anna@1@2", "anna@-1", "@1", "anna\n", "anna\r\nX: y", "a" * 65, "a" * 300, "anna*", "a?b", "[a]", "$HOME"]
    odd += ["\uff0e\uff0e\uff0fsecret", "\u2024\u2024/secret", "\u202eanna", "ann\u0430", "\ud7ff", "anna\u200b", "é"]
    odd += [unicodedata.normalize("NFD", "é"), "%c0%ae%c0%ae%c0%afsecret", "..%c0%afsecret", "..;/secret", "anna#x"]
    return list(dict.fromkeys([*climbing, *encoded, *odd]))


def test_no_name_of_a_persona_leads_out_of_the_store(server: Server, tmp_path: Path) -> None:
    written_persona("anna", words="canary")
    names = [name for name in hostile_names() if not persona_store.NAME.fullmatch(name)]
    assert len(names) >= 100
    client = server.as_()
    client.follow_redirects = False
    client.get("/api/personas/anna/export?format=json")  # makes the folder of uploads
    before = everything(tmp_path)
    for name in names:
        url = f"/api/personas/{quote(name, safe='')}"
        answers = [
            client.get(url),
            client.delete(url),
            client.delete(f"{url}?chats=true"),
            client.patch(url, json={"name": "other"}),
            client.patch("/api/personas/anna", json={"name": name}),
            client.get(f"{url}/export"),
            client.get(f"{url}/memory"),
            client.delete(f"{url}/memory"),
            client.post(f"{url}/adapt", json={"text": "a: b"}),
            client.post("/api/personas/import", params={"name": name}, content=b"a: b\nb: c\n"),
            client.post("/api/chats", json={"persona": name}),
            client.post("/api/compare", json={"prompt": "hm?", "models": ["anna", name]}),
        ]
        for answer in answers:
            assert answer.status_code in (204, 307, 404, 405, 409, 422) or (
                answer.status_code == 200 and answer.request.url.path in ("/api/personas", "/api/personas/")
            ), (name, answer.request.url, answer.text)
            assert "nobody-7f3a" not in answer.text
        assert everything(tmp_path) == before, name
    assert persona_store.names() == ["anna"]


def test_no_name_of_a_file_becomes_a_path(server: Server, tmp_path: Path) -> None:
    before = everything(tmp_path / "outside")
    client = server.as_()
    for name in hostile_names():
        answer = client.post("/api/uploads", params={"filename": name, "preview": "false"}, content=b"a: b\nb: c\n")
        assert answer.status_code == 201, name
        paths = [path for path in (tmp_path / "home" / "uploads").rglob("*") if path.is_file()]
        assert sorted(path.stem for path in paths) == ["about", "chat"]
        assert {path.suffix for path in paths} <= {".json", ".txt", ".png", ".persona"}
        assert client.get(f"/api/uploads/{answer.json()['id']}/preview").status_code == 200
        client.delete(f"/api/uploads/{answer.json()['id']}")
    assert everything(tmp_path / "outside") == before


def test_no_id_leads_out_of_the_folder_of_uploads(server: Server, tmp_path: Path) -> None:
    of_anna(server)
    before = everything(tmp_path)
    for name in hostile_names():
        url = f"/api/uploads/{quote(name, safe='')}"
        assert server.as_("anna").get(f"{url}/preview").status_code in (404, 405), name
        assert server.as_("anna").delete(url).status_code in (204, 307, 404, 405), name
    assert everything(tmp_path) == before


def test_personas_of_a_shared_store_are_listed_and_never_changed(empty_workspace: Path) -> None:
    del empty_workspace
    with serving(ServerSettings(store="memory://shared")) as server:
        client = server.as_()
        listed = client.get("/api/personas").json()
        assert [one["name"] for one in listed["personas"]] == sorted(
            model.name for model in server.engine.served() if model.is_persona
        )
        for method, path in (
            ("GET", "/api/personas/anna"),
            ("PATCH", "/api/personas/anna"),
            ("DELETE", "/api/personas/anna"),
            ("POST", "/api/personas/anna/adapt"),
            ("POST", "/api/personas/import"),
            ("DELETE", "/api/personas/anna/memory/1"),
        ):
            assert client.request(method, path).json()["code"] == "read_only", (method, path)
