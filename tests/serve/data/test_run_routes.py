"""Tables that ``menura eval`` wrote are listed and shown as they stand in its files."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from data_app import Server, serving


@pytest.fixture
def server(empty_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MENURA_RUNS", str(empty_workspace / "elsewhere"))
    with serving() as made:
        yield made


def score(value: float, **further: Any) -> dict[str, Any]:
    usual = {"metric": "ppl", "value": value, "low": value - 1, "high": value + 1, "unit": "per token"}
    return {**usual, "better": "lower", "personas": 12, "samples": 156, "signature": "ppl|per:token", **further}


def written(folder: Path, made: int = 1_700_000_000) -> None:
    row = {"notes": "", "kind": "base", "shots": 0, "by_draw": {}, "drawn_replies": ["said in private"]}
    best = {"ppl": score(23.2), "f1": score(6.2, low=None, high=None)}
    rows = [{**row, "label": "un-adapted", "scores": {"ppl": score(24.3)}}, {**row, "label": "adapted", "scores": best}]
    differences = [{"ours": "adapted", "theirs": "un-adapted", "differences": {"ppl": score(-1.1, p=0.001)}}]
    about = {"base": "tiny", "split": "seed 0", "own": "thing"}
    folder.mkdir(parents=True)
    path = folder / "scores.json"
    path.write_text(json.dumps({"about": about, "origin": {}, "rows": rows, "differences": differences}), "utf-8")
    os.utime(path, (made, made))


def test_runs_are_listed_the_latest_first_and_shown_as_tables(server: Server, empty_workspace: Path) -> None:
    written(empty_workspace / "elsewhere" / "results" / "shipped")
    written(empty_workspace / "elsewhere" / "maml" / "scores", made=1_800_000_000)
    written(empty_workspace / "demo", made=1_600_000_000)
    client = server.as_()
    listed = client.get("/api/runs").json()
    assert [one["name"] for one in listed["runs"]] == ["maml/scores", "results/shipped", "demo"]
    assert [one["systems"] for one in listed["runs"]] == [2, 2, 2]
    first = client.get("/api/runs?limit=2").json()
    assert [one["name"] for one in client.get(f"/api/runs?limit=2&after={first['next']}").json()["runs"]] == ["demo"]
    assert [one["name"] for one in client.get("/api/runs?q=SHIP").json()["runs"]] == ["results/shipped"]
    answer = client.get(f"/api/runs/{listed['runs'][1]['id']}/metrics")
    table = answer.json()
    assert table["about"] == {"base": "tiny", "split": "seed 0", "own": "thing"}
    assert table["metrics"] == ["ppl", "f1"]
    assert [(row["label"], row["scores"]["ppl"]["value"]) for row in table["rows"]] == [
        ("un-adapted", 24.3), ("adapted", 23.2)
    ]  # fmt: skip
    assert table["differences"][0]["scores"]["ppl"]["p"] == 0.001
    assert "said in private" not in answer.text


def test_a_damaged_run_says_so_and_keeps_the_others_from_nothing(server: Server, empty_workspace: Path) -> None:
    written(empty_workspace / "elsewhere" / "whole")
    broken = empty_workspace / "elsewhere" / "broken"
    for text in ("{", "[]", '{"rows": 7, "about": {}}', '{"rows": [{}], "about": {}}'):
        broken.mkdir(exist_ok=True)
        (broken / "scores.json").write_text(text, "utf-8")
        rows = {one["name"]: one for one in server.as_().get("/api/runs").json()["runs"]}
        assert set(rows) == {"whole", "broken"}
        assert "error" not in rows["whole"]
        assert server.as_().get(f"/api/runs/{rows['broken']['id']}/metrics").status_code == 422


@pytest.mark.parametrize("run", ["0" * 32, "..", "%2e%2e%2fwhole", "whole"])
def test_a_run_that_is_none_is_not_there(server: Server, empty_workspace: Path, run: str) -> None:
    written(empty_workspace / "elsewhere" / "whole")
    assert server.as_().get(f"/api/runs/{run}/metrics").status_code == 404


def test_a_key_of_some_personas_sees_no_run(server: Server, empty_workspace: Path) -> None:
    written(empty_workspace / "elsewhere" / "whole")
    run = server.as_().get("/api/runs").json()["runs"][0]["id"]
    assert server.as_("anna").get("/api/runs").json() == {"runs": [], "total": 0, "next": None}
    assert server.as_("anna").get(f"/api/runs/{run}/metrics").status_code == 404
