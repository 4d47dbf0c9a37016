"""Chats are kept, rated, exported and deleted; a reply is stored once it has ended, or as far as it was sent."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import pytest
from data_app import Server, events_of, names_of, serving, written_persona
from scripted_engine import ScriptedEngine
from starlette.requests import Request

from menura.corpus.inputs import read
from menura.serve.database.chats import NewMessage, add_message, messages_of, new_chat
from menura.serve.generation import Delta, Event, GenerationRequest
from menura.serve.routes.event_stream import EventStream, first_events
from menura.serve.routes.replies import KeptReply


@pytest.fixture
def server(empty_workspace: Path) -> Iterator[Server]:
    with serving() as made:
        written_persona("anna")
        yield made


def begun(server: Server, **body: Any) -> str:
    made = server.as_().post("/api/chats", json={"persona": "anna", **body})
    assert made.status_code == 201
    chat: str = made.json()["id"]
    return chat


def said(server: Server, chat: str, text: str, **body: Any) -> list[tuple[str, Any]]:
    answer = server.as_().post(f"/api/chats/{chat}/reply", json={"text": text, **body})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return events_of(answer.text)


def test_a_reply_is_streamed_and_kept_with_what_was_recalled(server: Server) -> None:
    chat = begun(server, title="fern")
    events = said(server, chat, "how is the basil?")
    assert names_of(events) == ["begun", "delta", "delta", "finished", "stored"]
    stored = events[-1][1]["message"]
    assert (stored["text"], stored["finished"], stored["version"]) == ("it sulks", True, 1)
    assert stored["recalled"] == [["the basil?", "it sulks"]]
    shown = server.as_().get(f"/api/chats/{chat}").json()
    assert [(one["role"], one["text"]) for one in shown["messages"]] == [
        ("user", "how is the basil?"),
        ("persona", "it sulks"),
    ]


def test_the_engine_reads_the_chat_so_far_with_the_persona_as_itself(server: Server) -> None:
    chat = begun(server)
    said(server, chat, "one")
    said(server, chat, "two", system="in a garden", sampling={"temperature": 0.0, "seed": 7})
    asked = server.engine.requests[-1]
    assert [(turn.speaker, turn.text) for turn in asked.turns] == [
        ("you", "one"),
        ("persona", "it sulks"),
        ("you", "two"),
    ]
    assert (asked.system, asked.sampling.temperature, asked.sampling.seed) == ("in a garden", 0.0, 7)


def test_of_several_candidates_the_best_is_kept_and_another_may_be_chosen(server: Server) -> None:
    chat = begun(server)
    events = said(server, chat, "hm?", candidates=3)
    message = events[-1][1]["message"]
    assert message["text"] == "it 2sulks2"
    assert (message["candidates"], message["scores"]) == (["it sulks", "it 1sulks1", "it 2sulks2"], [0.0, 1.0, 2.0])
    assert server.engine.requests[-1].ranked
    url = f"/api/chats/{chat}/messages/{message['place']}"
    assert server.as_().patch(url, json={"candidate": 1}).json()["text"] == "it 1sulks1"
    assert server.as_().patch(url, json={"candidate": 3}).status_code == 422


def test_a_stream_that_breaks_says_so_and_keeps_what_was_sent(empty_workspace: Path) -> None:
    with serving(breaks_after=1) as server:
        written_persona("anna")
        chat = begun(server)
        events = said(server, chat, "hm?")
        name, data = events[-1]
        assert (name, data["error"]["code"]) == ("error", "persona_changed")
        assert "stored" not in names_of(events)
        (_, message) = server.as_().get(f"/api/chats/{chat}").json()["messages"]
        assert (message["text"], message["finished"]) == ("it ", False)


def test_a_client_that_leaves_frees_the_engine_and_what_it_saw_is_kept(empty_workspace: Path) -> None:
    with serving(stays=True) as server:
        written_persona("anna")
        chat = begun(server)

        async def leaves() -> None:
            sent: list[bytes] = []
            body = json.dumps({"text": "hm?"}).encode()
            asked = [{"type": "http.request", "body": body, "more_body": False}]

            async def receive() -> dict[str, Any]:
                if asked:
                    return asked.pop()
                while b"delta" not in b"".join(sent):
                    await asyncio.sleep(0.001)
                return {"type": "http.disconnect"}

            async def send(message: Any) -> None:
                sent.append(message.get("body", b""))

            scope = {
                "type": "http",
                "asgi": {"version": "3.0", "spec_version": "2.3"},
                "http_version": "1.1",
                "method": "POST",
                "path": f"/api/chats/{chat}/reply",
                "raw_path": b"",
                "query_string": b"",
                "headers": [(b"content-type", b"application/json"), (b"x-caller", b"")],
                "client": ("127.0.0.1", 1),
                "server": ("127.0.0.1", 2),
                "scheme": "http",
                "root_path": "",
            }
            await asyncio.wait_for(server.app(scope, receive, send), 10)  # type: ignore[arg-type]

        asyncio.run(leaves())
        assert server.engine.closed == 1
        (_, message) = messages_of(server.services.database, "", chat)
        assert (message["text"], message["finished"]) == ("it ", False)


def test_a_client_that_leaves_before_the_first_event_frees_the_engine(empty_workspace: Path) -> None:
    left: list[str] = []

    async def waits() -> AsyncGenerator[Event, None]:
        try:
            await asyncio.Event().wait()
            yield Delta(0, "")
        finally:
            left.append("closed")

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"type": "http.disconnect"}

    request = Request({"type": "http"}, receive)
    assert asyncio.run(first_events(request, [waits(), waits()])) is None
    assert left == ["closed"] * 2


def test_a_stream_that_was_never_begun_is_closed_too(empty_workspace: Path) -> None:
    engine = ScriptedEngine()
    written_persona("anna")

    async def leaves() -> None:
        events = engine.generate(GenerationRequest("anna"))
        await anext(events)

        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await asyncio.Event().wait()

        async def sent() -> AsyncGenerator[bytes, None]:
            async for _ in events:
                yield b""

        await EventStream(sent(), [events])({"type": "http"}, receive, send)
        assert engine.closed == 1  # before the loop closes what is left

    asyncio.run(leaves())


def test_a_reply_is_stored_once_however_often_it_is_kept(server: Server) -> None:
    chat = begun(server)
    kept = KeptReply(server.services.database, "", chat)
    assert kept.keep(finished=False) is None
    kept.reply.take(Delta(0, "hello"))
    assert kept.keep(finished=True)
    assert kept.keep(finished=False) is None
    assert len(messages_of(server.services.database, "", chat)) == 1


def test_an_unknown_model_is_a_status_and_what_was_said_is_not_lost(server: Server) -> None:
    chat = begun(server)
    answer = server.as_().post(f"/api/chats/{chat}/reply", json={"text": "hm?", "persona": "bob"})
    assert (answer.status_code, answer.json()["code"]) == (404, "model_not_found")
    assert server.as_().post("/api/chats", json={"persona": "bob"}).status_code == 404
    assert server.as_().post(f"/api/chats/{chat}/reply", json={}).json()["code"] == "empty"


def test_ratings_are_set_taken_back_and_refused_for_what_the_person_said(server: Server) -> None:
    chat = begun(server)
    said(server, chat, "hm?")
    url = f"/api/chats/{chat}/messages"
    assert server.as_().patch(f"{url}/1", json={"rating": "good"}).json()["rating"] == "good"
    assert server.as_().patch(f"{url}/1", json={"text": "it thrives"}).json()["rating"] == "good"
    assert server.as_().patch(f"{url}/1", json={"rating": None}).json()["rating"] is None
    assert server.as_().patch(f"{url}/0", json={"rating": "good"}).status_code == 422
    assert server.as_().patch(f"{url}/1", json={"rating": "great"}).status_code == 422
    assert server.as_().patch(f"{url}/9", json={"rating": "good"}).status_code == 404


def test_a_chat_goes_on_from_before_a_deleted_message(server: Server) -> None:
    chat = begun(server)
    said(server, chat, "one")
    said(server, chat, "two")
    assert server.as_().delete(f"/api/chats/{chat}/messages/2").status_code == 204
    assert server.as_().delete(f"/api/chats/{chat}/messages/2").status_code == 204
    left = server.as_().get(f"/api/chats/{chat}/messages").json()["messages"]
    assert [one["place"] for one in left] == [0, 1]
    server.as_().post(f"/api/chats/{chat}/messages", json={"role": "user", "text": "three"})
    assert server.as_().get(f"/api/chats/{chat}/messages").json()["messages"][-1]["place"] == 2


def test_chats_come_in_pages_and_are_found_by_title(server: Server) -> None:
    chats = [begun(server, title=f"Chat {number}") for number in range(5)]
    first = server.as_().get("/api/chats?limit=2").json()
    assert [one["id"] for one in first["chats"]] == [chats[4], chats[3]]
    second = server.as_().get(f"/api/chats?limit=2&after={first['next']}").json()
    assert [one["id"] for one in second["chats"]] == [chats[2], chats[1]]
    last = server.as_().get(f"/api/chats?limit=2&after={second['next']}").json()
    assert ([one["id"] for one in last["chats"]], last["next"]) == ([chats[0]], None)
    found = server.as_().get("/api/chats?q=chat 3").json()["chats"]
    assert [one["title"] for one in found] == ["Chat 3"]
    assert server.as_().patch(f"/api/chats/{chats[0]}", json={"title": "fern"}).json()["title"] == "fern"
    assert server.as_().delete(f"/api/chats/{chats[0]}").status_code == 204
    assert server.as_().delete(f"/api/chats/{chats[0]}").status_code == 204
    assert server.as_().get(f"/api/chats/{chats[0]}").status_code == 404


def test_an_export_learns_from_good_replies_alone_and_menura_reads_it(server: Server, tmp_path: Path) -> None:
    database = server.services.database
    chat = new_chat(database, "", "anna", 1, "")["id"]
    for number in range(6):
        add_message(database, "", chat, NewMessage("user", f"question {number}"))
        add_message(database, "", chat, NewMessage("persona", f"answer {number}", finished=number != 4))
    for place, rating in ((1, "good"), (3, "bad"), (9, "good"), (11, "good")):
        server.as_().patch(f"/api/chats/{chat}/messages/{place}", json={"rating": rating})
    for only_good, wanted in ((True, {"answer 0", "answer 5"}), (False, {f"answer {n}" for n in (0, 2, 3, 5)})):
        exported = server.as_().get(f"/api/chats/{chat}/export?only_good={only_good}")
        path = tmp_path / f"{only_good}.jsonl"
        path.write_bytes(exported.content)
        dialogues = read(path)
        learnt = {
            turn.text
            for dialogue in dialogues
            for index, turn in enumerate(dialogue.turns)
            if turn.speaker == "anna" and index not in dialogue.context_only
        }
        assert learnt == wanted
        assert [turn.text for dialogue in dialogues for turn in dialogue.turns][:2] == ["question 0", "answer 0"]
    text = server.as_().get(f"/api/chats/{chat}/export?format=text").text
    assert text.splitlines()[:2] == ["user: question 0", "anna: answer 0"]


def test_a_chat_without_good_replies_has_nothing_to_learn(server: Server) -> None:
    chat = begun(server)
    said(server, chat, "hm?")
    answer = server.as_().get(f"/api/chats/{chat}/export?only_good=true")
    assert (answer.status_code, answer.json()["code"]) == (422, "empty")
