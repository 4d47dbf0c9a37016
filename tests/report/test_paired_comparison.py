import json
from dataclasses import replace
from pathlib import Path

import pytest

from menura.cli.main import run
from menura.errors import ConfigError, DataError
from menura.evaluation.evaluate import Results, SystemRow
from menura.evaluation.generation import Outputs
from menura.metrics.catalogue import METRICS
from menura.metrics.score import Sample
from menura.metrics.significance import paired_difference, score
from menura.report import results
from menura.report.paired_comparison import differences

NAMES = ("ppl", "f1")


def samples(worse: float, reply: str) -> list[Sample]:
    return [
        Sample(f"p{n}", "d", reply, f"it is {n}", 3.0 + n % 3 + worse * (1 + n % 2), 3, facts=("a",), nli_labels=(1,))
        for n in range(9)
    ]


def row(kind: str, shots: int, worse: float, reply: str) -> SystemRow:
    said = samples(worse, reply)
    scores = {name: score(METRICS[name], said, seed=0) for name in NAMES}
    silent = [replace(sample, reply="") for sample in said]
    return SystemRow(
        kind, shots, (Outputs(silent, said, 1, 1, 1.0),), scores=scores, by_draw=dict.fromkeys(NAMES, (0.0,))
    )


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    made = {
        "plain": (row("un-adapted", 0, 2.0, "it is 1"),),
        "maml": (row("un-adapted", 0, 1.5, "no"), row("wrong persona", 3, 1.4, "no"), row("adapted", 3, 1.0, "it is")),
    }
    for name, rows in made.items():
        results.write(Results(rows, (), {}), tmp_path / name)
    return [tmp_path / name for name in made]


def test_a_difference_is_that_of_the_samples_persona_by_persona(folders: list[Path]) -> None:
    found = {(row.ours, row.theirs): row.differences for row in differences(folders, "maml")}
    assert set(found) == {
        ("plain: un-adapted", "maml: adapted, K=3"),
        ("maml: un-adapted", "maml: adapted, K=3"),
    }
    for metric in NAMES:
        expected = paired_difference(METRICS[metric], samples(2.0, "it is 1"), samples(1.0, "it is"), seed=0)
        assert found["plain: un-adapted", "maml: adapted, K=3"][metric] == expected


def test_who_does_not_adapt_is_compared_by_its_only_row(folders: list[Path]) -> None:
    assert {row.theirs for row in differences(folders, "plain")} == {"plain: un-adapted"}


def test_the_command_adds_them_to_the_table(folders: list[Path], tmp_path: Path) -> None:
    words = ["report", *map(str, folders), "--against", "maml", "--out", str(tmp_path / "both")]
    assert run(words) == 0
    table = (tmp_path / "both" / "table.md").read_text(encoding="utf-8")
    assert "plain: un-adapted − maml: adapted, K=3" in table


def test_a_system_that_is_not_there_is_told_with_the_nearest(folders: list[Path]) -> None:
    with pytest.raises(ConfigError, match="no such system here.*did you mean maml"):
        differences(folders, "mamml")


def test_other_personas_and_lost_samples_are_told(folders: list[Path]) -> None:
    lines = (folders[0] / "likelihoods.jsonl").read_text(encoding="utf-8").splitlines()
    changed = [json.dumps(json.loads(lines[0]) | {"persona_id": "else"}), *lines[1:]]
    (folders[0] / "likelihoods.jsonl").write_text("\n".join(changed), encoding="utf-8")
    with pytest.raises(DataError, match="else"):
        differences(folders, "maml")
    (folders[0] / "likelihoods.jsonl").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="likelihoods.jsonl:1.*not what menura eval writes"):
        differences(folders, "maml")
    (folders[0] / "likelihoods.jsonl").unlink()
    with pytest.raises(DataError, match="no likelihoods.jsonl here"):
        differences(folders, "maml")
