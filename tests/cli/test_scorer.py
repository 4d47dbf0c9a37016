import json
import re
from pathlib import Path

import pytest
from small_scorers import emoji, nli

from menura.cli.main import run

SMALL = ("learning.batch_size=16", "learning.lr=0.01", "dropout=0")


@pytest.fixture
def line(tmp_path: Path, empty_workspace: Path) -> list[str]:
    """The words that train a small scorer of pairs into the workspace."""
    config = nli(tmp_path)
    chosen = (f"data.corpus={config.data.corpus}", f"encoder={config.encoder}", "learning.epochs=6", *SMALL)
    return ["train", "scorer/nli", *(word for setting in chosen for word in ("--set", setting))]


def test_a_scorer_is_trained_and_checked_by_two_commands(
    line: list[str], empty_workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line) == 0
    said = capsys.readouterr().out
    assert "scorer/nli: 96 examples of 3 labels, 0 to choose by, 30 to judge by (pairs-valid.txt)" in said
    assert re.search(r"done: scorer/nli sha256 \w{12}, accuracy 1\.000 of 30, \d+ s -> .*scorers/nli", said)
    assert run(["eval", "scorer/nli"]) == 0
    rows = [re.split(r"  +", row) for row in capsys.readouterr().out.splitlines()]
    assert ["accuracy", "100.0 [88.6, 100.0]", "30"] in rows
    assert ["recall entailment", "100.0 [72.2, 100.0]", "10"] in rows
    assert not {path.name for path in empty_workspace.glob("scorers/nli/*")} & {"checkpoints", "best.safetensors"}


def test_as_json_a_check_is_one_object(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line) == 0
    capsys.readouterr()
    assert run(["--json", "eval", "scorer/nli"]) == 0
    (told,) = capsys.readouterr().out.splitlines()
    found = json.loads(told)
    assert found["event"] == "scorer"
    assert {key: found["figures"][0][key] for key in ("name", "hits", "total")} == {
        "name": "accuracy",
        "hits": 30,
        "total": 30,
    }
    assert [recall["name"] for recall in found["recalls"]] == ["contradiction", "entailment", "neutral"]


def test_another_corpus_is_judged_and_named(
    line: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line) == 0
    other = tmp_path / "other-valid.txt"
    other.write_text("i hate the owls</s>i like owls</s>positive\n", encoding="utf-8")
    capsys.readouterr()
    assert run(["eval", "scorer/nli", "--set", f"data.corpus={tmp_path / 'pairs-train.txt'},{other}"]) == 0
    told = capsys.readouterr().out
    assert "judged by other-valid.txt" in told
    assert re.search(r"^accuracy +0\.0 \[0\.0, 79\.3\] +1$", told, re.MULTILINE)
    assert re.search(r"^recall neutral +n/a +0$", told, re.MULTILINE)


def test_a_dry_run_writes_nothing(line: list[str], empty_workspace: Path) -> None:
    assert run([*line, "--dry-run"]) == 0
    assert not (empty_workspace / "scorers").exists()


def test_the_emoji_classifier_is_checked_within_the_test_emojis(
    tmp_path: Path, empty_workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = emoji(tmp_path)
    chosen = (f"data.corpus={config.data.corpus}", "hidden_size=8", "learning.epochs=1", "within=😀,😭", "min_count=1")
    assert run(["train", "scorer/emoji", *(w for setting in chosen for w in ("--set", setting))]) == 0
    assert run(["eval", "scorer/emoji"]) == 0
    told = capsys.readouterr().out
    for name in ("accuracy", "top 5", "within 2", "always 😀", "recall 😀", "recall 😭"):
        assert re.search(rf"^{name} +\d", told, re.MULTILINE), told


def test_an_emoji_that_is_not_there_is_told_before_training(
    tmp_path: Path, empty_workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "scorer/emoji", "--set", f"data.corpus={emoji(tmp_path).data.corpus}", "--set", "within=😀,🦜"]
    assert run(words) == 2
    assert "within: '🦜' stands nowhere in the training files (hint: known: 😀, 😭, 🙏)" in capsys.readouterr().err
    assert not (empty_workspace / "scorers").exists()
