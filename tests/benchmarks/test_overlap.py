import json
from pathlib import Path

import pytest

from benchmarks import overlap

FACTS = {"ann": ["i paint boats"], "bo": ["i bake bread"], "cy": ["i bake pastry"]}


def evaluation(folder: Path, weight: str, said: dict[str, list[str]]) -> Path:
    made = folder / f"at-{weight}"
    made.mkdir()
    (made / "scores.json").write_text(
        json.dumps({"about": {"strength": f"every persona weighs {weight} where it is judged"}})
    )
    rows = [
        {"row": row, "persona_id": who, "dialogue_id": "d", "reply": reply, "reference": "", "facts": FACTS[who]}
        for who, replies in said.items()
        for row, reply in [("un-adapted", reply) for reply in replies] + [("adapted", "boats bread pastry")]
    ]
    (made / "predictions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


def cells(line: str) -> list[float]:
    return [float(cell.split("[")[0].replace("−", "-")) for cell in line.strip("|").split("|")[1:]]


def test_what_is_said_of_ones_own_stands_beside_what_is_said_of_others(tmp_path: Path) -> None:
    full = evaluation(tmp_path, "1", {"ann": ["boats!", "some bread"], "bo": ["bread", "no"], "cy": ["no", "we bake"]})
    none = evaluation(tmp_path, "0", {"ann": ["no", "boats"], "bo": ["no", "no"], "cy": ["no", "no"]})
    head, _, low, high, between = overlap.table([full, none]).splitlines()
    assert "another speaker" in head
    assert low.startswith("| 0 |")
    assert high.startswith("| 1 |")
    # Three of six say their own. "bread" is of one of two others where ann says it, "bake" where cy does.
    assert cells(high) == pytest.approx([3 / 6, 2 * 0.5 / 6, 2 / 6], abs=5e-4)
    assert cells(low) == pytest.approx([1 / 6, 0, 1 / 6], abs=5e-4)
    assert cells(between) == pytest.approx([2 / 6, 1 / 6, 1 / 6], abs=6e-4)


def test_the_table_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [evaluation(tmp_path, weight, {who: ["boats"] for who in FACTS}) for weight in ("0", "0.5")]
    assert overlap.main([*map(str, folders)]) == 0
    assert "0.5 − 0" in capsys.readouterr().out
