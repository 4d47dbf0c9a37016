"""TransferTransfo and P2 Bot go the way of every other system: trained, judged, adapted and heard by the same words."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from counts import count
from made_up_chat import name_of, settings, write
from small_training import config_for, ended, train

from menura import api
from menura.cli.main import run
from menura.evaluation.run import config_of
from menura.models.causal_lm.p2_bot import P2BotConfig
from menura.models.causal_lm.transfer_transfo import TransferTransfoConfig
from menura.training.recipes import recipe
from menura.training.run_folder import Run

PARTS = {
    "transfer_transfo": {"reply", "choice"},
    "transfer_transfo_lm": set(),
    "p2_bot": {"reply", "choice", "receiver", "fluency", "coherence", "perception"},
    "p2_bot_lm": {"reply", "receiver", "fluency", "perception"},
}
NOTED = {"step", "loss", "loss_hex", "norm", "tokens"}
# Facts and three turns take more room than the quick settings leave, and playing needs some more.
ROOM = ("model.max_length=400", "outer.steps=4")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a corpus of which every person has a fact."""
    path = write(tmp_path_factory.mktemp("quoted") / "chat.jsonl")
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        dialogue = json.loads(line)
        person = dialogue["turns"][1]["speaker"]
        lines.append(json.dumps({**dialogue, "facts": {person: [f"they call me {person}.", "i work with my hands."]}}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def samples_in(table: Path) -> list[dict[str, Any]]:
    """Return what was said and ranked."""
    (path,) = table.rglob("predictions.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("system", [*PARTS][:: count(full_count=1, quick_count=2)])
def test_it_trains_and_goes_on_to_the_same_bits(corpus: Path, tmp_path: Path, system: str) -> None:
    config = config_for(corpus, *ROOM, recipe=f"quoted/{system}@tiny")
    train(config, tmp_path / "whole")
    steps = [entry for entry in Run(tmp_path / "whole").trace() if "loss" in entry]
    assert set().union(*steps) - NOTED == PARTS[system]
    assert len(steps) == 4
    train(replace(config, outer=replace(config.outer, save_every=2)), tmp_path / "again")
    assert ended(tmp_path / "again")["trace"] == ended(tmp_path / "whole")["trace"]


def test_self_play_begins_in_the_second_half(corpus: Path, tmp_path: Path) -> None:
    train(config_for(corpus, *ROOM, recipe="quoted/p2_bot@tiny"), tmp_path / "run")
    steps = [entry for entry in Run(tmp_path / "run").trace() if "loss" in entry]
    assert ["fluency" in entry for entry in steps] == [False, False, True, True]
    assert all(0 <= entry[name] <= 1 for entry in steps[2:] for name in ("fluency", "coherence", "perception"))


def test_with_or_without_rivals_the_same_episodes_are_drawn(corpus: Path, tmp_path: Path) -> None:
    tokens = []
    for system in ("transfer_transfo", "transfer_transfo_lm"):
        train(config_for(corpus, *ROOM, recipe=f"quoted/{system}@tiny"), tmp_path / system)
        tokens.append([entry["tokens"] for entry in Run(tmp_path / system).trace() if "loss" in entry])
    assert tokens[0] == tokens[1]
    assert len(set(tokens[0])) > 1


@pytest.mark.parametrize("system", ["transfer_transfo", "p2_bot"])
def test_the_same_words_train_judge_adapt_and_speak(
    corpus: Path, empty_workspace: Path, system: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, table = empty_workspace / "run", empty_workspace / "table"
    given = settings(corpus, *ROOM)
    assert run(["train", f"quoted/{system}", "--size", "tiny", "--out", str(folder), *given]) == 0
    assert config_of(str(folder)).model.name == system
    metrics = "ppl,f1,hits@1,hits@1-likelihood"
    words = ["eval", str(folder), "-k", "2", "--personas", "2", "--replies", "2", "--candidates", "4"]
    assert run([*words, "--metrics", metrics, "--out", str(table)]) == 0
    samples = samples_in(table)
    ranked = [sample for sample in samples if sample["rank"] is not None]
    assert ranked
    assert all(sample["likelihood_rank"] is not None for sample in ranked)
    assert any(sample["rank"] != sample["likelihood_rank"] for sample in ranked), "a head of its own chooses"
    said = ["adapt", "anna", str(corpus), "--speaker", name_of(3), "-k", "2", "--base", str(folder)]
    assert run([*said, "--set", "inner.lr=0.01"]) == 0
    capsys.readouterr()
    anna = api.Persona.load("anna")
    assert anna.artefact.model["name"] == system
    assert isinstance(anna.reply("what do you do?", max_new_tokens=5), str)


def test_a_language_model_ranks_by_likelihood_under_both_names(corpus: Path, tmp_path: Path) -> None:
    folder, table = tmp_path / "run", tmp_path / "table"
    train(config_for(corpus, *ROOM, recipe="quoted/transfer_transfo_lm@tiny"), folder)
    words = ["eval", str(folder), "-k", "2", "--personas", "2", "--replies", "2", "--candidates", "4"]
    assert run([*words, "--metrics", "hits@1,hits@1-likelihood", "--out", str(table)]) == 0
    samples = samples_in(table)
    assert all(sample["rank"] == sample["likelihood_rank"] for sample in samples)


@pytest.mark.parametrize("size", ["tiny", "cpu", "paper"])
def test_the_rows_differ_in_what_their_names_say(size: str) -> None:
    rows = {system: recipe(f"quoted/{system}", size) for system in PARTS}
    assert {system: config.model.name for system, config in rows.items()} == {
        "transfer_transfo": "transfer_transfo",
        "transfer_transfo_lm": "transfer_transfo",
        "p2_bot": "p2_bot",
        "p2_bot_lm": "p2_bot",
    }
    with_head = rows["transfer_transfo"].model
    assert isinstance(with_head, TransferTransfoConfig)
    assert rows["transfer_transfo_lm"].model == replace(with_head, next_utterance_weight=0.0)
    assert isinstance(rows["p2_bot"].model, P2BotConfig)
    assert rows["p2_bot_lm"].model == replace(rows["p2_bot"].model, next_utterance_weight=0.0)
    ours = recipe("mamlviapp/extra_place", size)
    for config in rows.values():
        assert (config.data, config.method.inner, config.model.base) == (ours.data, ours.method.inner, ours.model.base)
        assert replace(config.outer, steps=ours.outer.steps) == ours.outer
        assert (config.outer, config.model.adapters) == (rows["p2_bot"].outer, with_head.adapters)
