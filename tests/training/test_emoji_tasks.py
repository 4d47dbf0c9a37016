"""MojiTalk from its files to a table: each emoji a persona, on one side of a run."""

import json
from pathlib import Path
from typing import Any

import pytest

from menura.artefacts.files import read_json
from menura.cli.main import run

FACES = "😂❤😊👍🙏💀✨👀"


@pytest.fixture
def corpus(tmp_path: Path, empty_workspace: Path) -> str:
    """Put made-up tweets of eight emojis into a workspace, the later emojis the more frequent in dev."""
    for side in ("dev", "test"):
        said = [(face, n) for i, face in enumerate(FACES) for n in range(i + 6 if side == "dev" else 6)]
        asked = "".join(f"{face} what is new {n} ?\n" for face, n in said)
        (tmp_path / f"{side}.ori").write_text(asked, encoding="utf-8")
        replied = "".join(f"{side} {FACES.index(face)} {n} .\n" for face, n in said)
        (tmp_path / f"{side}.rep").write_text(replied, encoding="utf-8")
    files = [str(tmp_path / f"{side}.{kind}") for side in ("dev", "test") for kind in ("ori", "rep")]
    assert run(["data", "add", "moji", *files]) == 0
    return "moji"


def about_of(table: Path) -> Any:
    """Read what a table says of itself."""
    (scores,) = table.rglob("scores.json")
    return read_json(scores)["about"]


def test_a_run_s_folder_and_its_table_tell_which_emojis_stand_where(
    corpus: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = (
        f"data.corpus={corpus}",
        *(
            "data.test_id_prefixes=test",
            "data.num_test_personas=3",
            "data.num_valid_personas=2",
            "data.min_heldout_dialogues=6",
            "data.max_turns=0",
        ),
        *("data.max_dialogues=8", "data.max_test_dialogues=5", "data.select_dialogues=draw"),
        *("outer.steps=2", "outer.eval_every=2", "outer.eval_personas=1"),
    )
    # Five drawn pairs are fewer than the six a test persona must have, so nobody would be left.
    words = [word for setting in settings for word in ("--set", setting)]
    command = ["train", "cmaml/seq2seq_f", "--size", "tiny", "--out", str(tmp_path / "run"), *words]
    assert run(command) == 3
    assert "no test persona has 6 dialogues" in capsys.readouterr().err
    assert run([*command, "--set", "data.max_test_dialogues=6"]) == 0
    counts = read_json(tmp_path / "run" / "data.lock.json")["counts"]
    assert counts["test"] == dict.fromkeys("😂❤😊", 6)
    assert {side: len(people) for side, people in counts.items()} == {"train": 3, "valid": 2, "test": 3}
    assert counts["train"] | counts["valid"] == dict.fromkeys("👍🙏💀✨👀", 8)
    assert "👍" in (tmp_path / "run" / "data.lock.json").read_text(encoding="utf-8")
    table = tmp_path / "table"
    words = ["eval", str(tmp_path / "run"), "-k", "1", "--metrics", "ppl", "--queries", "1", "--out", str(table)]
    assert run(words) == 0, capsys.readouterr().err
    about = about_of(table)
    assert about["bounds"] == "at most 8 dialogues of a persona (6 of a test persona), drawn from seed 999"
    assert "3 test personas" in about["data"]
    assert "users" not in about


def test_a_table_says_how_alike_its_users_are(tmp_path: Path, empty_workspace: Path) -> None:
    lines = []
    for person in range(12):
        facts = [f"i like thing {person % 4}", f"my name is {person}", f"word{person}"]
        for number in range(5):
            said = [[f"hi {number}", f"i am {person}"], ["oh", facts[0]]]
            lines.append(json.dumps({"persona": facts, "turns": said}))
    (tmp_path / "chat.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = (
        *(f"data.corpus={tmp_path / 'chat.jsonl'}", "data.task_by=facts", "data.test=0.4", "data.train=0.5"),
        *("data.user_subset=similar", "data.num_users=3", "data.max_utterances=18"),
        *("outer.steps=2", "outer.eval_every=2", "outer.eval_personas=1"),
    )
    words = [word for setting in settings for word in ("--set", setting)]
    assert run(["train", "cmaml/seq2seq_f", "--size", "tiny", "--out", str(tmp_path / "run"), *words]) == 0
    likeness = read_json(tmp_path / "run" / "data.lock.json")["likeness"]
    words = ["eval", str(tmp_path / "run"), "-k", "1", "--metrics", "ppl", "--queries", "1"]
    assert run([*words, "--out", str(tmp_path / "table")]) == 0
    about = about_of(tmp_path / "table")
    mean = f"train {likeness['train']:.3f}, test {likeness['test']:.3f}"
    assert about["users"] == f"the 3 most similar a split, mean similarity of two: {mean}"
    assert about["bounds"].endswith("dialogues of a persona, the first; at most 18 utterances")
    assert "3 test personas" in about["data"]
