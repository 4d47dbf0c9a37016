"""PLATO's grid: six rows that differ in what they say, on less data and on more (spec A17, P19)."""

from dataclasses import replace
from pathlib import Path

import pytest
from made_up_chat import settings, write

from menura.adaptation.finetune import PretrainOnly
from menura.artefacts.loading import LoadOptions
from menura.cli.main import run
from menura.errors import ConfigError, StorageError
from menura.models.plato.config import PlatoConfig
from menura.registry import load_model
from menura.training.config import RunConfig
from menura.training.data import split_of, tasks_of
from menura.training.overrides import with_settings
from menura.training.recipes import recipe
from menura.training.recipes.plato_grid import FIRST, GRID

SIZES = ("tiny", "cpu", "paper")


def model_of(config: RunConfig) -> PlatoConfig:
    assert isinstance(config.model, PlatoConfig)
    return config.model


@pytest.mark.parametrize("size", SIZES)
def test_each_row_is_what_the_table_says_of_it(size: str) -> None:
    rows = {name: model_of(recipe(f"plato-grid/{name}", size)) for name in GRID}
    assert {name for name, model in rows.items() if model.context == "uni"} == {"1.2"}
    assert {name for name, model in rows.items() if model.num_latents} == {"3.1"}
    from_gpt2 = {name for name, model in rows.items() if "gpt2" in model.base or model.norm == "pre"}
    assert from_gpt2 == {"1.2", "1.3", "2.1"}
    assert set(FIRST) == {"2.1", "2.2", "3.1"}


@pytest.mark.parametrize("size", SIZES)
def test_the_rows_have_the_same_data_the_same_steps_and_nobody_adapts(size: str) -> None:
    rows = [recipe(f"plato-grid/{name}", size) for name in GRID]
    assert len({(row.data, row.outer, row.dtype, row.method) for row in rows}) == 1
    assert rows[0].method == PretrainOnly()
    firsts = [recipe(name, size) for name in FIRST.values()]
    assert len({(first.data, first.outer) for first in firsts}) == 1
    # A row goes on from a model of its own kind.
    for name, first in zip(FIRST, firsts, strict=True):
        ours, its = model_of(recipe(f"plato-grid/{name}", size)), model_of(first)
        fits = [(m.base, m.num_latents, m.context, m.norm, m.lm_head, m.hidden_size) for m in (ours, its)]
        assert fits[0] == fits[1]


def test_less_data_is_a_part_of_more_and_the_held_out_sides_stay(tmp_path: Path) -> None:
    corpus = write(tmp_path / "chat.jsonl")
    made = {}
    for most in (10, 25, 0):
        given = settings(corpus, "data.min_heldout_dialogues=1", f"data.total_train_dialogues={most}")[1::2]
        config = with_settings(recipe("plato-grid/1.1", "tiny"), given).data
        made[most] = split_of(config, tasks_of(config))
        made[most].verify()
    ids = {most: {n for task in split["train"] for n in task.dialogue_ids} for most, split in made.items()}
    assert (len(ids[10]), len(ids[25])) == (10, 25)
    assert ids[10] < ids[25] < ids[0]
    assert all(split["test"] == made[0]["test"] and split["valid"] == made[0]["valid"] for split in made.values())


def test_a_number_of_dialogues_below_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="data.total_train_dialogues: -1"):
        with_settings(recipe("plato-grid/1.1", "tiny"), ["data.total_train_dialogues=-1"])


def test_one_way_context_with_a_latent_at_its_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="model.context: uni"):
        with_settings(recipe("plato-grid/3.1", "tiny"), ["model.context=uni"])
    with pytest.raises(ConfigError, match="model.context: uni"):
        with_settings(recipe("plato-grid/1.2", "tiny"), ["model.num_latents=5"])


def test_a_gpt2_that_is_not_here_is_told_and_what_can_be_named_instead(tmp_path: Path) -> None:
    model = model_of(recipe("plato-grid/1.3", "cpu"))
    with pytest.raises(StorageError, match="base 'gpt2' is not on this machine"):
        load_model(model, LoadOptions(offline=True))
    with pytest.raises(StorageError, match="no such name, folder.*menura base list"):
        load_model(replace(model, base=str(tmp_path / "gpt2")))


def test_all_six_rows_train_on_less_data_and_stand_in_one_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write(tmp_path / "chat.jsonl")
    sets = settings(corpus, "outer.steps=2", "outer.eval_every=2", "outer.shots=0", "data.min_heldout_dialogues=1")
    results = tmp_path / "results"
    for name, row in GRID.items():
        more = ["--set", "data.total_train_dialogues=10"]
        if row.dialogue:
            first = str(tmp_path / f"{name}-first")
            assert run(["train", FIRST[name], "--size", "tiny", "--out", first, *sets]) == 0
            more += ["--set", f"model.init_from={first}"]
        folder = str(tmp_path / name)
        assert run(["train", f"plato-grid/{name}", "--size", "tiny", "--out", folder, *sets, *more]) == 0
        evaluate_prepared = ["-k", "0", "--personas", "3", "--metrics", "ppl,ppl-word,bits-per-byte"]
        assert run(["eval", folder, *evaluate_prepared, "--out", str(results)]) == 0
    told = sorted(str(path.parent) for path in results.rglob("table.md"))
    assert len(told) == len(GRID)
    capsys.readouterr()
    assert run(["report", *told, "--out", str(tmp_path / "table")]) == 0
    table = (tmp_path / "table" / "table.md").read_text()
    assert "ppl-word" in table
    assert all(any(name in line for line in table.splitlines()) for name in GRID)
