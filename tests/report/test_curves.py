"""Evaluations side by side: one table, and curves as numbers and as a picture."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from menura.cli.main import run
from menura.errors import ConfigError, DataError
from menura.metrics.score import Score
from menura.report import curves, saved_results
from menura.report.saved_results import WrittenRow

PPL = Score("ppl", 30.0, "per token", "lower", 28.0, 32.0, 40, 320, "ppl|per:token")


def row(kind: str, shots: int, value: float, draws: tuple[float, ...] = ()) -> WrittenRow:
    score = replace(PPL, value=value, low=value - 1, high=value + 2)
    return WrittenRow("system", kind, shots, {"ppl": score}, {"ppl": draws or (value,)}, "")


ROWS = [row("un-adapted", 0, 30.0), row("adapted", 1, 28.0, (27.0, 29.0)), row("adapted", 5, 25.0)]


def test_a_point_carries_its_interval_and_its_deviation_over_draws() -> None:
    read = list(csv.DictReader(io.StringIO(curves.csv_text(curves.points(ROWS)))))
    assert [(entry["shots"], entry["value"], entry["low"], entry["high"]) for entry in read] == [
        *(("0", "30.0", "29.0", "32.0"), ("1", "28.0", "27.0", "30.0"), ("5", "25.0", "24.0", "27.0")),
    ]
    assert [float(entry["deviation"]) for entry in read] == [0.0, pytest.approx(2**0.5), 0.0]
    assert [entry["draws"] for entry in read] == ["1", "2", "1"]


def test_the_picture_has_a_named_line_a_system_and_is_the_same_each_time() -> None:
    points = curves.points([*ROWS, *(replace(row, system="other") for row in ROWS)])
    picture = curves.svg(points, ["ppl"], {"ppl": "ppl down"})
    assert picture == curves.svg(points, ["ppl"], {"ppl": "ppl down"})
    texts = [element.text for element in ElementTree.fromstring(picture).iter() if element.tag.endswith("text")]
    assert {"system", "other", "ppl down"} <= set(texts)


def test_wrong_persona_rows_are_no_part_of_a_line() -> None:
    points = curves.points([*ROWS, row("wrong persona", 3, 99.0)])
    with_it = curves.svg(points, ["ppl"], {})
    assert with_it == curves.svg(curves.points(ROWS), ["ppl"], {})


def test_a_metric_that_no_row_has_is_told() -> None:
    with pytest.raises(ConfigError, match="no row was scored by f1"):
        curves.check_there(curves.points(ROWS), ["ppl", "f1"])


def scores(value: float) -> dict[str, Any]:
    entry = {**vars(replace(PPL, value=value))}
    rows = [
        {"label": "un-adapted", "notes": "", "scores": {"ppl": entry}, "kind": "un-adapted", "shots": 0,
         "by_draw": {"ppl": [value]}},
        {"label": "adapted, K=2", "notes": "1 s", "scores": {"ppl": entry}, "kind": "adapted", "shots": 2,
         "by_draw": {"ppl": [value, value + 1]}},
    ]  # fmt: skip
    return {"about": {"base": "tiny"}, "rows": rows, "differences": []}


def test_the_command_puts_systems_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in (("one", 30.0), ("two", 20.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scores.json").write_text(json.dumps(scores(value)), encoding="utf-8")
    words = ["report", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(tmp_path / "both")]
    assert run(words) == 0
    table = (tmp_path / "both" / "table.md").read_text(encoding="utf-8")
    assert "one: adapted, K=2" in table
    assert "two: un-adapted" in table
    assert table in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"table.md", "curves.csv", "curves.svg"}


def test_a_folder_without_an_evaluation_and_a_damaged_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no scores\.json here"):
        saved_results.read(tmp_path)
    (tmp_path / "scores.json").write_text('{"rows": [{}]}', encoding="utf-8")
    with pytest.raises(DataError, match="not what menura eval writes"):
        saved_results.read(tmp_path)
