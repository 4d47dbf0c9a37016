"""The systems that PLATO quotes go the way of every other system: trained, judged and heard by the same words."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_up_chat import settings, write
from small_training import config_for, ended, train

from menura.adaptation.alternating import Alternating
from menura.cli.main import run
from menura.errors import ConfigError
from menura.models.recurrent.ivae_mi import IvaeMiConfig
from menura.training import persona_masks as run_structures
from menura.training.recipes import SIZES, recipe
from menura.training.recipes.plato_baselines import ROWS
from menura.training.run_folder import Run

TABLE = {
    "seq2seq-dailydialog": ("seq2seq", "dailydialog", "dialogue"),
    "seq2seq-personachat": ("seq2seq", "convai2", "facts"),
    "ivae_mi": ("ivae_mi", "dailydialog", "dialogue"),
    "lic": ("lic", "convai2", "facts"),
    "avsd-baseline": ("hierarchical", "avsd", "speaker"),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl")


@pytest.mark.parametrize("size", ["cpu", "paper"])
def test_each_row_is_its_system_on_its_set(size: str) -> None:
    rows = {name.removeprefix("plato/"): recipe(name, size) for name in ROWS}
    assert {n: (c.model.name, c.data.corpus, c.data.task_by) for n, c in rows.items()} == TABLE
    assert all(config.data.with_facts and config.outer.shots == 0 for config in rows.values())
    # Two systems on one set are on the same dialogues.
    assert rows["seq2seq-dailydialog"].data == rows["ivae_mi"].data
    assert rows["seq2seq-personachat"].data == rows["lic"].data


def test_the_sizes_are_those_of_the_systems() -> None:
    made = {size: recipe("plato/ivae_mi", size).model for size in SIZES}
    assert isinstance(made["paper"], IvaeMiConfig)
    assert [(model.hidden_size, model.latent_size, model.num_samples) for model in made.values()] == [  # type: ignore[union-attr]
        (12, 6, 3),
        (256, 200, 10),
        (300, 200, 10),
    ]
    method = recipe("plato/ivae_mi", "cpu").method
    assert isinstance(method, Alternating)
    assert (method.generator_steps, method.critic_steps) == (1, 5)


@pytest.mark.parametrize("row", TABLE)
def test_a_row_trains_and_is_judged_and_speaks(
    row: str, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "run")
    given = settings(corpus, "outer.steps=2", "outer.eval_every=2", "outer.shots=0")
    assert run(["train", f"plato/{row}", "--size", "tiny", "--out", folder, *given]) == 0
    words = ["eval", folder, "-k", "0", "--personas", "2", "--replies", "2", "--candidates", "3"]
    assert run([*words, "--metrics", "ppl,bleu,hits@1", "--out", str(tmp_path / "table")]) == 0
    assert "| un-adapted" in capsys.readouterr().out


def test_a_training_in_turns_goes_on_to_the_same_bits(corpus: Path, tmp_path: Path) -> None:
    config = config_for(corpus, "outer.steps=4", recipe="plato/ivae_mi@tiny")
    train(config, tmp_path / "whole")
    stopped = replace(config, outer=replace(config.outer, save_every=2))

    class KilledError(Exception):
        pass

    def kill(step: int, training: object) -> None:
        if step == 3:
            raise KilledError

    with pytest.raises(KilledError):
        train(stopped, tmp_path / "again", kill)
    train(stopped, tmp_path / "again")
    assert ended(tmp_path / "again")["trace"] == ended(tmp_path / "whole")["trace"]
    assert ended(tmp_path / "again")["model"] == ended(tmp_path / "whole")["model"]
    steps = [entry for entry in Run(tmp_path / "whole").trace() if "loss" in entry]
    assert all({"kl_generator", "kl_critic"} <= set(entry) for entry in steps)


def test_every_network_of_a_model_that_learns_in_turns_moves(corpus: Path, tmp_path: Path) -> None:
    before: dict[str, object] = {}
    moved: set[str] = set()

    def look(step: int, training: object) -> None:
        weights = training.weights  # type: ignore[attr-defined]  # a Training
        if step == 1:
            before.update({name: value.detach().clone() for name, value in weights.items()})
        else:
            moved.update(n.partition(".")[0] for n, v in weights.items() if not v.equal(before[n]))

    train(config_for(corpus, "outer.steps=2", recipe="plato/ivae_mi@tiny"), tmp_path / "run", look)
    assert moved == {"decoder", "forwards", "backwards", "context", "prior", "posterior", "critic", "bridge"}


def test_several_ranks_are_refused_where_a_step_takes_turns() -> None:
    with pytest.raises(ConfigError, match="alternating moves weights several times a step"):
        run_structures.check_alone(Alternating(), 2)
    run_structures.check_alone(Alternating(), 1)
