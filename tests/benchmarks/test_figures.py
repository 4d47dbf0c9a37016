import json
from pathlib import Path

from benchmarks import figures


def test_overlap_is_drawn_over_the_strengths_in_their_order(tmp_path: Path) -> None:
    for weight, value in (("1", 0.5), ("0.25", 0.125)):
        folder = tmp_path / f"at-{weight}"
        folder.mkdir()
        score = {"value": value, "low": value - 0.1, "high": value + 0.25}
        found = {
            "about": {"strength": f"every persona weighs {weight} where it is judged"},
            "rows": [{"label": "un-adapted", "scores": {"attribute-overlap": score}}],
        }
        (folder / "scores.json").write_text(json.dumps(found))
        assert figures._point(found, "attribute-overlap") == (float(weight), value, value - 0.1, value + 0.25)
    drawn = figures.main(
        ["strength", str(tmp_path / "at-1"), str(tmp_path / "at-0.25"), "--out", str(tmp_path / "a.svg")]
    )
    picture = (tmp_path / "a.svg").read_text()
    assert drawn == 0
    assert "strength a" in picture


def test_cost_shows_each_system_once_a_panel(tmp_path: Path) -> None:
    rows = [
        {"what": "training step of arplus, size cpu", "median": 1.5},
        {"what": "memory of training arplus, size cpu", "median": 1.4},
        {"what": "something else", "median": 9.0},
    ]
    (tmp_path / "benchmarks.json").write_text(json.dumps({"rows": rows}))
    picture = figures.cost(tmp_path / "benchmarks.json")
    assert picture.count("arplus, size cpu") == 2
    assert "something else" not in picture
