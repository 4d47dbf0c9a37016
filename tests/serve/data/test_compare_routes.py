"""Several models reply to one prompt; blind, nobody learns which is which before the vote, and the first vote stays."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from data_app import Server, events_of, names_of, serving, written_persona

from menura.annotation import pairs
from menura.serve.comparison_results import results_of
from menura.serve.database.comparisons import ComparisonRecord

NAMES = ("anna-zeta", "bert-omega", "cora-sigma")


@pytest.fixture
def server(empty_workspace: Path) -> Iterator[Server]:
    with serving() as made:
        for name in NAMES:
            written_persona(name)
        yield made


def compared(server: Server, models: tuple[str, ...] = NAMES[:2], **body: Any) -> list[tuple[str, Any]]:
    answer = server.as_().post("/api/compare", json={"prompt": "and the fern?", "models": models, **body})
    assert answer.status_code == 200, answer.text
    return events_of(answer.text)


def test_a_blind_comparison_says_no_name_before_the_vote(server: Server) -> None:
    answer = server.as_().post("/api/compare", json={"prompt": "and the fern?", "models": NAMES})
    events = events_of(answer.text)
    assert {data["lane"] for name, data in events if name == "delta"} == {0, 1, 2}
    assert names_of(events)[-1] == "ended"
    comparison = events[0][1]["id"]
    shown = server.as_().get(f"/api/compare/{comparison}")
    listed = server.as_().get("/api/compare")
    for text in (answer.text, shown.text, listed.text):
        assert not [name for name in NAMES if name in text]
    voted = server.as_().post(f"/api/compare/{comparison}/vote", json={"choice": 1}).json()
    assert sorted(voted["models"]) == sorted(NAMES)
    assert server.as_().get(f"/api/compare/{comparison}").json()["models"] == voted["models"]


def test_a_blind_lane_that_breaks_says_no_name_and_is_none_to_vote_on(empty_workspace: Path) -> None:
    with serving(breaks_after=1) as server:
        for name in NAMES:
            written_persona(name)
        events = compared(server)
        assert not [name for name in NAMES if name in json.dumps(events)]
        assert [data["error"]["code"] for name, data in events if name == "error"] == ["persona_changed"] * 2
        assert events[-1] == ("ended", {"id": events[0][1]["id"], "finished": False})
        answer = server.as_().post(f"/api/compare/{events[0][1]['id']}/vote", json={"choice": "tie"})
        assert answer.json()["code"] == "unfinished"


def test_the_order_of_lanes_is_drawn_anew(server: Server) -> None:
    first = set()
    for _ in range(20):
        comparison = compared(server)[0][1]["id"]
        voted = server.as_().post(f"/api/compare/{comparison}/vote", json={"choice": "bad"}).json()
        first.add(voted["models"][0])
    assert first == set(NAMES[:2])


def test_the_first_vote_stays_and_the_same_key_returns_it(server: Server) -> None:
    comparison = compared(server)[0][1]["id"]
    url = f"/api/compare/{comparison}/vote"
    first = server.as_().post(url, json={"choice": 0}, headers={"Idempotency-Key": "k"})
    again = server.as_().post(url, json={"choice": 1}, headers={"Idempotency-Key": "k"})
    other = server.as_().post(url, json={"choice": 1})
    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json()["choice"] == again.json()["choice"] == "0"
    assert (other.status_code, other.json()["code"]) == (409, "already_rated")
    assert server.as_().post(url, json={"choice": 7}).json()["code"] == "unknown_choice"


def test_an_open_comparison_says_names_at_once(server: Server) -> None:
    events = compared(server, blind=False)
    assert events[0][1]["models"] == list(NAMES[:2])
    assert [data["model"] for name, data in events if name == "begun"] == list(NAMES[:2])


def test_models_that_cannot_be_compared_are_a_status(server: Server) -> None:
    def status(**body: Any) -> int:
        code: int = server.as_().post("/api/compare", json={"prompt": "hm?", "models": NAMES, **body}).status_code
        return code

    assert status(models=[NAMES[0]]) == 422
    assert status(models=[NAMES[0], NAMES[0]]) == 422
    assert status(models=[NAMES[0], "nobody"]) == 404
    assert status(prompt=None) == 422
    assert status(turns=[{"role": "user", "text": "hm?"}]) == 422
    assert server.engine.closed == 0


def test_results_count_wins_and_give_strengths_with_intervals(server: Server) -> None:
    def voted(choice: str, number: int) -> ComparisonRecord:
        lanes = ("anna", "bert")
        return ComparisonRecord(str(number), (), lanes, ("", ""), True, True, 0.0, choice)

    records = [voted(choice, number) for number, choice in enumerate(["0"] * 12 + ["1"] * 4 + ["tie", "bad"])]
    found = results_of(records)
    anna, bert = found["models"]
    assert (anna["wins"], anna["losses"], anna["ties"], anna["bad"]) == (12, 4, 1, 1)
    assert (bert["wins"], bert["losses"]) == (4, 12)
    assert found["pairs"] == [{"models": ["anna", "bert"], "points": [13.0, 5.0]}]
    assert anna["strength"]["low"] < anna["strength"]["value"] < anna["strength"]["high"]
    assert anna["strength"]["value"] == pytest.approx(-bert["strength"]["value"])
    few = results_of(records[:2])
    assert few["models"][0]["strength"]["low"] is None
    assert "no intervals" in few["note"]


def test_without_evalica_there_are_wins_alone_and_the_install_is_said(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("menura.serve.comparison_results.installed_evalica", lambda: None)
    comparison = compared(server)[0][1]["id"]
    server.as_().post(f"/api/compare/{comparison}/vote", json={"choice": 0})
    found = server.as_().get("/api/compare/results").json()
    assert [row["strength"] for row in found["models"]] == [None, None]
    assert pairs.INSTALL in found["note"]
    assert sum(row["wins"] for row in found["models"]) == 1


def test_results_leave_out_votes_that_saw_names_unless_asked(server: Server) -> None:
    comparison = compared(server, blind=False)[0][1]["id"]
    server.as_().post(f"/api/compare/{comparison}/vote", json={"choice": 0})
    assert server.as_().get("/api/compare/results").json()["votes"] == 0
    assert server.as_().get("/api/compare/results?blind=false").json()["votes"] == 1
    assert server.as_().delete(f"/api/compare/{comparison}").status_code == 204
    assert server.as_().get("/api/compare/results?blind=false").json()["votes"] == 0
