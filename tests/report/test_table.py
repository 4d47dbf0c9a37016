"""Tables as a reader sees them, and as a program reads them back."""

import csv
import io
import json
import math
from dataclasses import replace

from menura.metrics.score import Score
from menura.metrics.significance import Difference
from menura.report.table import DifferenceRow, TableRow, csv_text, differences_markdown, json_text, markdown

PPL = Score("ppl", 31.234, "per token", "lower", 29.01, 33.58, 40, 320, "ppl|per:token")
HITS = Score("hits@1", 45.06, "%", "higher", 40.0, 50.04, 40, 320, "hits@1|candidates:20")
BASE = TableRow("base", {"ppl": PPL, "hits@1": HITS})
ADAPTED = TableRow("adapted", {"ppl": replace(PPL, value=8.456, low=8.0, high=9.111)}, "5 shots")
LOWER = Difference("ppl", -4.123, "per token", "lower", -5.0, -3.2, 40, 0.001, "ppl|per:token")


def cells_of(table: str, *, line: int) -> list[str]:
    """The cells of one line, without their padding."""
    return [cell.strip() for cell in table.splitlines()[line].split("|")[1:-1]]


def test_the_whole_table_is_as_pinned() -> None:
    assert markdown([BASE, ADAPTED]) == (
        "| system  |             ppl ↓ |          hits@1 ↑ | notes   |\n"
        "| ------- | ----------------: | ----------------: | ------- |\n"
        "| base    | 31.2 [29.0, 33.6] | 45.1 [40.0, 50.0] |         |\n"
        "| adapted | 8.46 [8.00, 9.11] |                 – | 5 shots |\n"
        "\n"
        "↓ lower is better, ↑ higher is better. In brackets: 95 % interval over personas.\n"
        "\n"
        "- ppl: `ppl|per:token` (per token; 40 personas, 320 replies)\n"
        "- hits@1: `hits@1|candidates:20` (%; 40 personas, 320 replies)\n"
    )


def test_lines_are_of_one_width_and_notes_only_where_there_are_any() -> None:
    lines = markdown([BASE, replace(ADAPTED, notes="", label="a longer label")]).split("\n\n")[0].splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "notes" not in lines[0]


def test_rows_that_cannot_be_compared_are_told_apart() -> None:
    other = TableRow("other", {"ppl": replace(PPL, signature="ppl|per:word")})
    text = markdown([BASE, other])
    assert "- ppl: `ppl|per:token` (per token; 40 personas, 320 replies) only base\n" in text
    assert "- ppl: `ppl|per:word` (per token; 40 personas, 320 replies) only other\n" in text


def test_a_label_cannot_break_the_table() -> None:
    row = replace(BASE, label="a|b\nc", notes="x\r\ny")
    assert "| a\\|b c |" in markdown([row])
    assert "| x y " in markdown([row])


def test_one_persona_shows_no_interval() -> None:
    text = markdown([TableRow("one", {"ppl": replace(PPL, personas=1)})])
    assert cells_of(text, line=2) == ["one", "31.2"]
    assert "1 persona," in text


def test_what_is_not_a_number_is_said_so() -> None:
    nothing = replace(HITS, value=math.nan, low=math.nan, high=math.nan)
    endless = replace(PPL, value=math.inf, high=math.inf)
    text = markdown([TableRow("x", {"hits@1": nothing, "ppl": endless})])
    assert cells_of(text, line=2) == ["x", "n/a", "inf [29, inf]"]


def test_no_rows_make_a_table_of_nothing() -> None:
    assert markdown([]).startswith("| system |\n| ------ |\n")


def test_digits_fit_the_unit() -> None:
    def cell(value: float, unit: str) -> str:
        score = replace(PPL, value=value, unit=unit, personas=1)
        return cells_of(markdown([TableRow("x", {"m": score})]), line=2)[1]

    assert [cell(value, "per token") for value in (1.2345, 54.598, 205.409, 12345.6)] == [
        "1.23",
        "54.6",
        "205.4",
        "12346",
    ]
    assert [cell(5.25, "%"), cell(0.61234, "share"), cell(1.23456, "bits")] == ["5.2", "0.612", "1.235"]
    assert cell(0.000171, "small share") == "0.00017"


def test_differences_are_signed_with_their_p() -> None:
    higher = replace(LOWER, metric="hits@1", value=3.21, low=-0.04, high=6.4, unit="%", better="higher", p=0.25)
    rows = [DifferenceRow("adapted", "wrong persona", {"ppl": LOWER, "hits@1": higher}), DifferenceRow("a", "b", {})]
    text = differences_markdown(rows)
    assert cells_of(text, line=0) == ["difference", "ppl ↓", "hits@1 ↑"]
    assert cells_of(text, line=2) == [
        "adapted − wrong persona",
        "−4.12 [−5.00, −3.20] p=0.001",
        "+3.2 [0.0, +6.4] p=0.250",
    ]
    assert cells_of(text, line=3) == ["a − b", "–", "–"]
    assert "First minus second on the same personas" in text


def test_csv_reads_back_every_number() -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text([BASE, ADAPTED]))))
    assert [(line["label"], line["metric"], float(line["value"])) for line in lines] == [
        ("base", "ppl", 31.234),
        ("base", "hits@1", 45.06),
        ("adapted", "ppl", 8.456),
    ]
    assert lines[2]["notes"] == "5 shots"
    assert lines[0]["signature"] == "ppl|per:token"


def test_json_reads_back_every_number_and_stays_json() -> None:
    def refused(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    odd = TableRow("odd", {"ppl": replace(PPL, value=math.nan, high=math.inf)})
    found = json.loads(json_text([BASE, odd]), parse_constant=refused)["rows"]
    assert found[0]["scores"]["ppl"]["value"] == 31.234
    assert found[0]["scores"]["hits@1"]["better"] == "higher"
    assert found[1]["scores"]["ppl"]["value"] is None
    assert found[1]["scores"]["ppl"]["high"] is None
