"""Personas are listed by pages, shown, renamed, deleted without a trace, exported, and forget what they are told to."""

import io
import json
import stat
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import counts
import pytest
from data_app import Server, serving, written_persona

from menura import api
from menura.artefacts import persona_store
from menura.corpus.chats.cards.card import read_card
from menura.errors import ConfigError, StorageError
from menura.serve.database import chats, persona_notes, persona_owners


@pytest.fixture
def server(empty_workspace: Path) -> Iterator[Server]:
    with serving() as made:
        yield made


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_the_list_comes_in_pages_by_name(server: Server) -> None:
    for name in ("dora", "anna", "cora", "bert", "annabel"):
        written_persona(name)
    written_persona("cora", words="more")
    first = server.as_().get("/api/personas?limit=3").json()
    assert [one["name"] for one in first["personas"]] == ["anna", "annabel", "bert"]
    second = server.as_().get(f"/api/personas?limit=3&after={first['next']}").json()
    assert [(one["name"], one["version"]) for one in second["personas"]] == [("cora", 2), ("dora", 1)]
    assert (second["next"], second["total"]) == (None, 5)
    found = server.as_().get("/api/personas?q=ANN").json()["personas"]
    assert [one["name"] for one in found] == ["anna", "annabel"]
    assert found[0]["base"] == "tiny"


def test_a_damaged_persona_is_listed_as_such_beside_the_others(server: Server) -> None:
    for name in ("anna", "bert"):
        written_persona(name)
    persona_store.path_of("anna").write_bytes(b"hello")
    anna, bert = server.as_().get("/api/personas").json()["personas"]
    assert "not a whole persona" in anna["error"]
    assert "error" not in bert
    assert server.as_().get("/api/personas/anna").json()["code"] == "persona_damaged"


def test_a_row_is_read_again_when_the_file_changes(server: Server) -> None:
    written_persona("anna")
    assert server.as_().get("/api/personas").json()["personas"][0]["replies"] == 2
    written_persona("anna", recipe={"method": {"name": "finetune"}, "speaker": "anna", "shots": 1, "replies": 9})
    assert server.as_().get("/api/personas").json()["personas"][0]["replies"] == 9


def test_a_page_of_a_large_store_reads_its_own_files_alone(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    many = counts.count(full_count=10_000, quick_count=500)
    written_persona("first")
    content = persona_store.path_of("first").read_bytes()
    for number in range(many):
        persona_store.path_of(f"p{number:05}").write_bytes(content)
    read: list[str] = []
    original = api.persona_row
    monkeypatch.setattr(api, "persona_row", lambda name, version: read.append(name) or original(name, version))
    began = time.monotonic()
    page = server.as_().get("/api/personas?limit=20&after=p00100").json()
    assert time.monotonic() - began < 5
    assert [one["name"] for one in page["personas"]] == read == [f"p{number:05}" for number in range(101, 121)]
    server.as_().get("/api/personas?limit=20&after=p00100")
    assert len(read) == 20


def test_a_persona_is_shown_with_its_versions_and_no_path_of_the_server(server: Server, empty_workspace: Path) -> None:
    written_persona("anna")
    written_persona("anna", words="tea")
    answer = server.as_().get("/api/personas/anna")
    shown = answer.json()
    assert (shown["version"], shown["remembered"], shown["adapting"]) == (2, 1, False)
    assert [one["version"] for one in shown["history"]] == [1, 2]
    assert str(empty_workspace) not in answer.text


def test_a_renamed_persona_keeps_its_versions_chats_and_owner(server: Server) -> None:
    written_persona("anna")
    written_persona("anna", words="tea")
    persona_owners.note_owner(server.services.database, "anna", "a1")
    chat = chats.new_chat(server.services.database, "", "anna", 2, "")["id"]
    made = persona_store.path_of("anna@1").stat().st_mtime_ns
    assert server.as_().patch("/api/personas/anna", json={"name": "hanna"}).json()["name"] == "hanna"
    assert persona_store.names() == ["hanna"]
    assert (persona_store.load("hanna").name, persona_store.load("hanna@1").name) == ("hanna", "hanna")
    assert persona_store.path_of("hanna@1").stat().st_mtime_ns == made
    assert server.as_().get(f"/api/chats/{chat}").json()["persona"] == "hanna"
    assert persona_owners.owner_of(server.services.database, "hanna") == "a1"
    assert persona_owners.owner_of(server.services.database, "anna") is None


@pytest.mark.parametrize("name", ["bert", "shipped", "a/b", "", "anna@2", ".."])
def test_a_name_that_is_in_use_or_none_is_refused_and_nothing_changes(server: Server, name: str) -> None:
    written_persona("anna")
    written_persona("bert", words="keep")
    answer = server.as_().patch("/api/personas/anna", json={"name": name})
    assert answer.status_code in (409, 422)
    assert persona_store.names() == ["anna", "bert"]
    assert persona_store.load("bert").memory is not None
    assert persona_owners.owner_of(server.services.database, name) is None or name == "bert"


def test_a_rename_that_the_disk_refuses_leaves_the_persona_as_it_was(
    empty_workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_persona("anna")
    written_persona("anna", words="tea")
    before = {path.name: path.read_bytes() for path in persona_store.path_of("anna").parent.iterdir()}
    original = persona_store.write_bytes

    def refuses(path: Path, content: bytes) -> None:
        if path.name == "hanna.persona":
            raise StorageError("full", code="storage_full")
        original(path, content)

    monkeypatch.setattr(persona_store, "write_bytes", refuses)
    with pytest.raises(StorageError):
        persona_store.rename("anna", "hanna")
    assert {path.name: path.read_bytes() for path in persona_store.path_of("anna").parent.iterdir()} == before


def test_a_rename_moves_a_damaged_earlier_version_as_it_is(empty_workspace: Path) -> None:
    written_persona("anna")
    written_persona("anna", words="tea")
    persona_store.path_of("anna@1").write_bytes(b"hello")
    persona_store.rename("anna", "hanna")
    assert persona_store.path_of("hanna@1").read_bytes() == b"hello"
    with pytest.raises(ConfigError, match="unknown persona"):
        persona_store.rename("anna", "berta")


def test_deleting_a_persona_leaves_no_byte_of_it(server: Server, empty_workspace: Path) -> None:
    for name in ("anna", "bert"):
        for version in range(2):
            written_persona(name, words=f"canary-{name}-{version}")
        chat = chats.new_chat(server.services.database, "", name, 1, "")["id"]
        chats.add_message(server.services.database, "", chat, chats.NewMessage("user", f"canary-{name}-chat"))
        served = empty_workspace / "served" / name / "v1"
        served.mkdir(parents=True)
        (served / "adapter_config.json").write_text(f"canary-{name}-served", encoding="utf-8")
    half = persona_store.path_of("anna").parent / ".anna.persona.x1"
    half.write_text("canary-anna-half", encoding="utf-8")
    server.as_().get("/api/personas")
    assert server.as_().delete("/api/personas/anna?chats=true").status_code == 204
    assert server.as_().delete("/api/personas/anna?chats=true").status_code == 204
    left = everything(empty_workspace)
    assert b"canary-anna" not in left
    for part in ("0", "1", "chat", "served"):
        assert f"canary-bert-{part}".encode() in left
    assert [one["name"] for one in server.as_().get("/api/personas").json()["personas"]] == ["bert"]
    assert server.as_().get("/api/personas/anna").status_code == 404


def test_chats_stay_where_the_persona_alone_is_deleted(server: Server) -> None:
    written_persona("anna")
    chat = chats.new_chat(server.services.database, "", "anna", 1, "")["id"]
    assert server.as_().delete("/api/personas/anna").status_code == 204
    assert server.as_().get(f"/api/chats/{chat}").status_code == 200


def test_a_folder_for_engines_that_is_a_link_is_cut_and_not_followed(server: Server, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").write_text("keep", encoding="utf-8")
    written_persona("anna")
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "anna").symlink_to(outside)
    assert server.as_().delete("/api/personas/anna").status_code == 204
    assert (outside / "keep").exists()
    assert not (tmp_path / "served" / "anna").is_symlink()


@pytest.mark.parametrize("form", ["charx", "png", "json"])
def test_a_persona_leaves_as_a_card_without_what_it_remembers(server: Server, empty_workspace: Path, form: str) -> None:
    written_persona("anna", words="canary", facts=("keeps a fern",))
    answer = server.as_().get(f"/api/personas/anna/export?format={form}")
    assert answer.status_code == 200
    assert f'filename="anna.{form}"' in answer.headers["content-disposition"]
    assert read_card(answer.content, f"anna.{form}").facts == ("keeps a fern",)
    assert b"canary" not in answer.content
    assert not list((empty_workspace / "uploads").iterdir())


def test_what_it_remembers_leaves_if_that_is_asked_for(server: Server) -> None:
    written_persona("anna", words="canary")
    answer = server.as_().get("/api/personas/anna/export?with_memory=true")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert b"canary" in b"".join(archive.read(name) for name in archive.namelist())
    assert server.as_().get("/api/personas/anna/export?format=png&with_memory=true").status_code == 422


def test_an_exchange_is_forgotten_in_all_versions(server: Server, empty_workspace: Path) -> None:
    written_persona("anna", words="canary")
    written_persona("anna", words="canary", facts=("keeps a fern",))
    found = server.as_().get("/api/personas/anna/memory").json()
    assert (found["total"], found["exchanges"][0]["reply"]) == (1, "said canary")
    assert server.as_().delete("/api/personas/anna/memory/7").status_code == 204
    assert server.as_().get("/api/personas/anna/memory").json()["total"] == 1
    assert server.as_().delete("/api/personas/anna/memory/1").status_code == 204
    assert b"canary" not in everything(empty_workspace)
    assert server.as_().get("/api/personas/anna/memory").json() == {"exchanges": [], "total": 0}
    assert server.as_().delete("/api/personas/anna/memory").status_code == 204


def test_the_files_of_exports_are_the_owners_alone(server: Server, empty_workspace: Path) -> None:
    written_persona("anna")
    server.as_().get("/api/personas/anna/export?format=json")
    assert stat.S_IMODE(persona_store.path_of("anna").stat().st_mode) == 0o600


def test_an_unknown_persona_is_answered_alike_by_every_route(server: Server) -> None:
    written_persona("anna")
    answers = [
        server.as_().get("/api/personas/ana"),
        server.as_().patch("/api/personas/ana", json={"name": "bert"}),
        server.as_().get("/api/personas/ana/export"),
        server.as_().get("/api/personas/ana/memory"),
        server.as_().delete("/api/personas/ana/memory/1"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({json.dumps(answer.json()) for answer in answers}) == 1
    assert answers[0].json()["hint"] == "did you mean anna?"


def test_an_earlier_version_becomes_the_current_one_and_that_is_taken_back(server: Server) -> None:
    for words in ("first", "second"):
        written_persona("anna", words)
    client = server.as_()
    answer = client.post("/api/personas/anna/back", json={"version": 1})
    assert (answer.status_code, answer.json()) == (
        200, {"name": "anna", "version": 1, "earlier": "anna@2", "changed": True}
    )  # fmt: skip
    assert client.get("/api/personas/anna/memory").json()["exchanges"][0]["reply"] == "said first"
    history = client.get("/api/personas/anna").json()["history"]
    assert [(one["version"], one["current"], one["same_as"]) for one in history] == [
        (1, False, None), (2, False, None), (3, True, 1)
    ]  # fmt: skip
    assert client.post("/api/personas/anna/back", json={}).json()["version"] == 2
    assert client.get("/api/personas/anna/memory").json()["exchanges"][0]["reply"] == "said second"


@pytest.mark.parametrize(
    ("caller", "name", "body", "status"),
    [
        ("", "anna", {"version": 7}, 404),
        ("", "bob", {}, 404),
        ("", "nobody", {}, 404),
        ("bert", "anna", {"version": 1}, 404),
        ("", "anna", {"version": 0}, 422),
        ("", "anna", {"version": "1"}, 422),
    ],
)
def test_a_version_that_is_not_there_or_another_s_is_none_to_go_back_to(
    server: Server, caller: str, name: str, body: dict[str, Any], status: int
) -> None:
    for words in ("first", "second"):
        written_persona("anna", words)
    written_persona("bob", "only")
    before = {path: path.read_bytes() for path in persona_store.path_of("anna").parent.iterdir()}
    assert server.as_(caller).post(f"/api/personas/{name}/back", json=body).status_code == status
    assert {path: path.read_bytes() for path in persona_store.path_of("anna").parent.iterdir()} == before


def test_personas_are_found_by_their_tags(server: Server) -> None:
    for name in ("anna", "bob", "carla"):
        written_persona(name)
    client = server.as_()
    answer = client.patch("/api/personas/bob", json={"tags": ["work", "Ärzte", "work"]})
    assert answer.json() == {"name": "bob", "tags": ["work", "Ärzte"]}
    client.patch("/api/personas/carla", json={"tags": ["workshop"]})
    rows = client.get("/api/personas").json()["personas"]
    assert [row["tags"] for row in rows] == [[], ["work", "Ärzte"], ["workshop"]]
    for query, names in ({"q": "WORK"}, ["bob", "carla"]), ({"tag": "work"}, ["bob"]), ({"q": "ärz"}, ["bob"]):
        assert [row["name"] for row in client.get("/api/personas", params=query).json()["personas"]] == names
    assert client.patch("/api/personas/bob", json={"name": "bert"}).json() == {
        "name": "bert", "tags": ["work", "Ärzte"]
    }  # fmt: skip
    client.delete("/api/personas/bert")
    written_persona("bert")
    assert client.get("/api/personas/bert").json()["tags"] == []
    assert client.patch("/api/personas/carla", json={"tags": []}).json()["tags"] == []


@pytest.mark.parametrize("tag", ["", " ", "a,b", "a\n", " a", "x" * 33, "\u0007"])
def test_a_tag_is_a_short_word_of_its_own(server: Server, tag: str) -> None:
    written_persona("anna")
    assert server.as_().patch("/api/personas/anna", json={"tags": [tag]}).status_code == 422


def test_a_reply_is_a_use_of_the_persona(server: Server) -> None:
    written_persona("anna")
    written_persona("bob")
    client = server.as_()
    before = time.time()
    chat = client.post("/api/chats", json={"persona": "anna"}).json()["id"]
    assert client.get("/api/personas/anna").json()["last_used"] is None
    client.post(f"/api/chats/{chat}/reply", json={"text": "hello"})
    rows = {row["name"]: row["last_used"] for row in client.get("/api/personas").json()["personas"]}
    assert rows["bob"] is None
    assert before <= rows["anna"] <= time.time()
    assert persona_notes.last_uses(server.services.database) == {"anna": rows["anna"]}
