"""A run of latent-policy begins where another ended, moves the policy alone, and goes on when it was stopped."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up_chat import write
from small_training import config_for, ended, train

from menura.artefacts import tensors
from menura.cli.main import run
from menura.training.config import RunConfig
from menura.training.run_folder import Run

RECIPE = "plato/finetune-personachat@tiny"
POLICY = ("method=latent-policy", "method.max_new_tokens=3", "method.rewards=rs,distinct", "method.num_latents=3")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a corpus and the folder of a pooled run on it."""
    folder = tmp_path_factory.mktemp("policy")
    corpus = write(folder / "chat.jsonl")
    train(config(corpus, "outer.steps=2"), folder / "pooled")
    return corpus, folder / "pooled"


def config(corpus: Path, *more: str) -> RunConfig:
    return config_for(
        corpus, "outer.shots=0", "outer.eval_every=2", "data.min_heldout_dialogues=1", *more, recipe=RECIPE
    )


def test_the_policy_moves_and_the_generator_does_not(started: tuple[Path, Path], tmp_path: Path) -> None:
    corpus, pooled = started
    given = (f"model.init_from={pooled}", *POLICY)
    train(config(corpus, *given, "outer.steps=4"), tmp_path / "run")
    newest = max((tmp_path / "run" / "checkpoints").glob("step_*"))
    before, after = (tensors.load(path) for path in (pooled / "best.safetensors", newest / "model.safetensors"))
    assert before.keys() == after.keys(), "what a run holds does not depend on its method"
    moved = {name.partition(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"prior", "latent"}
    steps = [entry for entry in Run(tmp_path / "run").trace() if "loss" in entry]
    assert all(0 < entry["reward"] < 1 and entry["uncertainty"] > 0 for entry in steps)


def test_stopped_it_goes_on_to_the_same_bits(started: tuple[Path, Path], tmp_path: Path) -> None:
    corpus, pooled = started
    whole = config(corpus, f"model.init_from={pooled}", *POLICY, "method.train_generator=yes", "outer.steps=4")
    train(whole, tmp_path / "whole")
    stopped = replace(whole, outer=replace(whole.outer, save_every=2))

    def kill(step: int, training: object) -> None:
        if step == 3:
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        train(stopped, tmp_path / "again", kill)
    train(stopped, tmp_path / "again")
    found, wanted = (ended(tmp_path / name) for name in ("again", "whole"))
    assert (found["trace"], found["model"]) == (wanted["trace"], wanted["model"])


def test_its_run_is_judged_as_any_other(
    started: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, pooled = started
    train(config(corpus, f"model.init_from={pooled}", *POLICY, "outer.steps=2"), tmp_path / "run")
    words = ["eval", str(tmp_path / "run"), "-k", "0", "--personas", "2", "--replies", "1", "--metrics", "ppl,dist-1"]
    assert run([*words, "--out", str(tmp_path / "table")]) == 0
    assert "| un-adapted" in capsys.readouterr().out
