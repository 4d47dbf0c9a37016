"""The way the README leads: look at a file, learn a persona, talk with it, score it, clean up."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import counts
import pytest
from made_up_chat import name_of, settings, write

import menura
from menura.cli.main import run

WHO = name_of(2)
Answer = Callable[..., str]


@pytest.fixture
def typed(empty_workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Return the act of typing a line that works: its words, and lines piped into it; the answer is what it prints."""
    monkeypatch.chdir(empty_workspace)
    write(Path("chat.jsonl"), people=12)

    def answer(*words: str, piped: str = "") -> str:
        monkeypatch.setattr("sys.stdin", io.StringIO(piped))
        capsys.readouterr()
        code = run(list(words))
        told = capsys.readouterr()
        assert code == 0, told
        assert told.err == ""
        return told.out

    return answer


def test_from_a_file_to_a_persona_that_talks_and_back(typed: Answer) -> None:
    checked = typed("data", "check", "chat.jsonl", "--speaker", WHO)
    assert "chat.jsonl  Menura's JSON lines" in checked
    assert f"replies of {WHO}: 12" in checked
    assert checked.rstrip().endswith("Nothing was written.")

    assert "no personas yet" in typed("persona", "list")
    learnt = typed("adapt", "mira", "chat.jsonl", "--speaker", WHO, "-k", "3", "--base", "tiny")
    assert f"plan   base tiny · 6 replies of {WHO} in 3 of 6 dialogues (the most recent, 2 held out) · about" in learnt
    assert re.search(r"check  .* held-out replies became \d+ % (less likely|likelier) \(95 % interval ", learnt)
    assert re.search(r"wrote  .*mira\.persona \(\d+ KiB\)\ntry    menura chat mira\n$", learnt)

    talk = typed(
        "chat", "mira", "--greedy", piped="hello\n\n/who\n/cand 2\n/new\n/base\nagain\n/help\n/quit\nnot read\n"
    )
    assert talk.startswith("mira · greedy · /help\nmira> ")
    assert "mira on tiny" in talk
    assert len(re.findall(r"^  mira  +[\d.]+ NLL per token  ", talk, re.MULTILINE)) == 2
    assert "(forgotten)" in talk
    assert "(the base answers too)" in talk
    assert len(re.findall(r"^mira> ", talk, re.MULTILINE)) == 2
    assert len(re.findall(r"^base> ", talk, re.MULTILINE)) == 1

    assert "mira" in typed("persona", "list")
    shown = json.loads(typed("persona", "show", "mira", "--json"))
    assert shown["recipe"]["speaker"] == WHO
    assert shown["recipe"]["shots"] == 3
    typed("persona", "rm", "mira", "--dry-run")
    assert "mira" in typed("persona", "list")
    typed("persona", "rm", "mira")
    typed("persona", "rm", "mira")
    assert "no personas yet" in typed("persona", "list")


def test_a_chat_ends_with_its_input(typed: Answer) -> None:
    assert "tiny> " in typed("chat", "tiny", "--seed", "3", piped="hello")


def test_two_agents_answer_side_by_side(typed: Answer) -> None:
    typed("adapt", "mira", "chat.jsonl", "--speaker", WHO, "-k", "3", "--base", "tiny")
    talk = typed("chat", "mira,tiny", piped="hello\n")
    assert len(re.findall(r"^(?:mira|tiny)> ", talk, re.MULTILINE)) == 2


def test_as_json_every_line_is_an_object(typed: Answer) -> None:
    learnt = typed("adapt", "mira", "chat.jsonl", "--speaker", WHO, "-k", "3", "--base", "tiny", "--json")
    events = [json.loads(line) for line in learnt.splitlines()]
    assert events[-1]["event"] == "done"
    assert Path(events[-1]["path"]).stat().st_size == events[-1]["bytes"]
    for words in (
        ["persona", "list"],
        ["base", "list"],
        ["doctor"],
        ["data", "stats", "chat.jsonl"],
        ["model", "list"],
    ):
        for line in typed(*words, "--json").splitlines():
            assert "event" in json.loads(line)


def test_a_dry_run_writes_nothing(typed: Answer) -> None:
    before = sorted(Path().rglob("*"))
    typed("adapt", "mira", "chat.jsonl", "--speaker", WHO, "-k", "3", "--base", "tiny", "--dry-run")
    typed("train", "tiny/maml", "--dry-run")
    typed("eval", "tiny/maml", "--dry-run")
    typed("data", "split", "chat.jsonl", "--out", "split.json", "--min-heldout-dialogues", "3", "--dry-run")
    typed("data", "convert", "chat.jsonl", "--out", "chat.txt", "--to", "transcript", "--dry-run")
    assert sorted(Path().rglob("*")) == before


def test_a_training_becomes_a_table(typed: Answer) -> None:
    quick = settings(Path("chat.jsonl"), "outer.steps=4")
    assert "done: runs/tiny-maml" in typed("train", "tiny/maml", *quick)
    assert "going on after step 4" in typed("train", "tiny/maml", *quick)
    sizes = ("--k", "1,2", "--queries", "1", "--replies", "1", "--candidates", "2", "--greedy")
    told = typed("eval", "runs/tiny-maml", *sizes, "--out", "results")
    for label in ("base", "un-adapted", "wrong persona, K=2", "adapted, K=1", "adapted, K=2"):
        assert label in told
    folder = Path("results/tiny-maml")
    with (folder / "scores.csv").open(encoding="utf-8") as file:
        assert len(list(csv.reader(file))) > 6
    json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    assert (folder / "table.md").read_text(encoding="utf-8") in told
    spoken = [json.loads(line) for line in (folder / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert spoken


def test_settings_tell_where_they_come_from(typed: Answer) -> None:
    Path("c.yaml").write_text("outer: {meta_batch_size: 3}\n", encoding="utf-8")
    shown = json.loads(typed("config", "show", "tiny/maml", "-c", "c.yaml", "--set", "outer.steps=7", "--json"))
    assert shown["outer.meta_batch_size"] == {"value": 3, "from": "c.yaml"}
    assert shown["outer.steps"] == {"value": 7, "from": "--set"}
    assert shown["model.base"]["from"] == "recipe"
    assert shown["outer.max_grad_norm"]["from"] == "default"


def test_a_file_is_counted_split_and_converted_there_and_back(typed: Answer) -> None:
    assert "dialogues" in typed("data", "stats", "chat.jsonl")
    typed("data", "split", "chat.jsonl", "--out", "split.json", "--min-heldout-dialogues", "3")
    assert set(json.loads(Path("split.json").read_text(encoding="utf-8"))["sides"]) == {"train", "valid", "test"}
    typed("data", "convert", "chat.jsonl", "--out", "again.jsonl")
    typed("data", "convert", "again.jsonl", "--out", "third.jsonl")
    assert Path("again.jsonl").read_bytes() == Path("third.jsonl").read_bytes()


def test_what_is_known_is_listed(typed: Answer) -> None:
    assert "smollm2-135m" in typed("base", "list")
    assert "tiny is here" in typed("base", "pull", "tiny")
    assert "sha256" in typed("base", "show", "tiny")
    assert "causal-lm" in typed("model", "list") or "causal_lm" in typed("model", "list")
    assert "tiny/maml" in typed("config", "list")
    assert menura.__version__ in typed("doctor")


# A quick run learns a speaker from one dialogue, and judges by less; what is typed, run and printed is the same.
SHOTS = counts.count(full_count=5, quick_count=1)
DEMO = f"""from functools import partial
from menura.api import demonstration
from menura.cli.main import main
from menura.evaluation import demo
made = demo.EvaluateConfig
less = {{"queries": 1, "candidates": 2, "max_new_tokens": 8}} if {SHOTS} < demonstration.SHOTS else {{}}
demo.EvaluateConfig = lambda **table: made(**table | less)
demonstration.SHOWN = {counts.count(full_count=4, quick_count=1)}
demo.REPLY_TOKENS = {counts.count(full_count=30, quick_count=8)}
demonstration.Demo = partial(demonstration.Demo, shots={SHOTS})
main()
"""


@pytest.mark.weights
@pytest.mark.slow
def test_the_demo_ends_by_itself_where_there_is_no_terminal(weights_workspace: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(menura.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", DEMO, "demo", "--personas", "2", "--no-talk", "--offline"]
    done = subprocess.run(
        words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for row in ("base", "un-adapted", f"wrong persona, K={SHOTS}", f"adapted, K={SHOTS}"):
        assert row in done.stdout
    for line in ("speaker-1", "really", "facts  that speakers said", "next   menura adapt"):
        assert line in done.stdout


def test_a_plato_says_candidates_and_which_one_is_chosen_and_becomes_a_persona(typed: Answer) -> None:
    data = ("--set", "data.corpus=chat.jsonl", "--set", "outer.steps=2", "--set", "outer.eval_every=2")
    typed("train", "plato/pretrain", "--size", "tiny", "--out", "first", *data)
    typed(
        "train", "plato/finetune-personachat", "--size", "tiny", "--set", "model.init_from=first", "--out", "run", *data
    )
    talk = typed("chat", "run", "--candidates", "3", piped="hello\nand then?\n")
    shown = re.findall(r"^ +z=(\d) +coherence 0\.\d\d +[\d.]+ NLL per token  ", talk, re.MULTILINE)
    assert len(shown) == 6
    assert len(set(shown[:3])) == 3
    assert len(re.findall(r"<- chosen: the most coherent \(rs -?\d", talk)) == 2
    assert len(re.findall(r"^run> ", talk, re.MULTILINE)) == 2

    told = typed("chat", "run", "--candidates", "2", "--rank-by", "lm-norm", "--json", piped="hello\n")
    events = [json.loads(line) for line in told.splitlines()]
    assert any("do not compare" in event.get("message", "") for event in events)
    (candidates,) = [event["candidates"] for event in events if event["event"] == "candidates"]
    assert [one["chosen"] for one in candidates] == [True, False]
    assert candidates[0]["text"] == next(event["reply"] for event in events if event["event"] == "reply")

    learnt = typed("adapt", "mira", "chat.jsonl", "--speaker", WHO, "-k", "3", "--base", "run")
    assert "PPL" in learnt
    assert "mira> " in typed("chat", "mira", "--greedy", piped="hello\n")

    flags = (
        "--k",
        "2",
        "--queries",
        "1",
        "--replies",
        "1",
        "--max-new-tokens",
        "5",
        "--metrics",
        "ppl,ppl-best,ppl-posterior,rouge-l",
    )
    table = typed("eval", "run", "--personas", "2", "--upper-bound", "--rank-by", "mixture", *flags)
    rows = re.findall(r"^\| (un-adapted|upper bound|wrong persona, K=2|adapted, K=2) ", table, re.MULTILINE)
    assert rows[:4] == ["un-adapted", "upper bound", "wrong persona, K=2", "adapted, K=2"]
    assert "latents: information" in table

    for most, replies in (("1", 1), ("3", 3)):
        typed("eval", "run", "--personas", "2", "--top-latents", most, *flags, "--out", f"top-{most}")
        lines = Path("top-" + most, "run", "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        assert {len(json.loads(line)["said"]) for line in lines} == {replies}
