"""Rows and seeds become commands, in an order in which what matters most runs first."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from trial_experiment import TRIAL

from menura.errors import ConfigError
from menura.experiments.catalogue import EXPERIMENTS, experiment
from menura.experiments.commands import Unit
from menura.training.recipes import SIZED, recipe


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep runs in a folder of the test's own."""
    monkeypatch.setenv("MENURA_RUNS", str(tmp_path))
    return tmp_path


def unit(name: str, seed: int = 0, size: str = "cpu") -> Unit:
    return Unit(TRIAL, TRIAL.row(name), seed, size)


def test_rows_come_in_rank_order_each_with_all_of_its_seeds() -> None:
    order = [(row.name, seed) for row, seed in TRIAL.units()]
    assert order == [("first", 0), ("first", 1), ("later", 0), ("again", 0), ("bare", 0)]
    assert [(row.name, seed) for row, seed in TRIAL.units(["bare", "first"], 1)] == [("bare", 0), ("first", 0)]


def test_a_row_begins_at_the_run_of_another_of_the_same_seed(runs: Path) -> None:
    (training,) = unit("later", 1).trainings
    words = training.words
    assert words[:6] == ("train", "tiny/maml", "--seed", "1", "--set", "outer.steps=9")
    assert f"model.init_from={runs}/trial@cpu/first-1" in words
    assert f"model.init_from={runs}/trial@cpu/first-1" in unit("later", 2).trainings[0].words, "it has two seeds"
    assert [row.name for row in unit("later").needs] == ["first"]
    assert [row.name for row in unit("again").needs] == ["first", "later"]


def test_a_row_that_is_only_begun_at_is_not_scored() -> None:
    trial = replace(TRIAL, rows=(replace(TRIAL.row("first"), scored=False), *TRIAL.rows[1:]))
    assert [row.name for row, _ in trial.units()] == ["later", "again", "bare"]
    assert [row.name for row in Unit(trial, trial.row("later"), 0, "cpu").needs] == ["first"]


def test_a_row_may_score_the_run_of_another_or_a_recipe_as_it_is(runs: Path) -> None:
    again, bare = unit("again"), unit("bare")
    assert again.trainings == bare.trainings == ()
    assert again.evaluate[:2] == ("eval", f"{runs}/trial@cpu/later-0")
    assert again.evaluate[2:5] == ("-k", "5", "--prompt")
    assert bare.evaluate[:4] == ("eval", "tiny/finetune", "--set", "model.max_length=64")


def test_a_row_may_be_scored_otherwise_than_its_neighbours() -> None:
    row = replace(TRIAL.row("bare"), scored_with=("--split", "valid"), scored_otherwise=True)
    at = {size: Unit(replace(TRIAL, rows=(row,)), row, 0, size).evaluate for size in ("cpu", "tiny")}
    assert "-k" not in at["cpu"]
    assert at["cpu"][4:6] == ("--split", "valid")
    assert at["tiny"][6:10] == ("--split", "valid", "--personas", "3")


def test_a_recipe_without_training_may_be_scored_with_the_weights_of_another_row(runs: Path) -> None:
    row = replace(TRIAL.row("bare"), start="first")
    started = Unit(replace(TRIAL, rows=(*TRIAL.rows[:3], row)), row, 0, "cpu")
    assert started.evaluate[4:6] == ("--set", f"model.init_from={runs}/trial@cpu/first-0")
    assert [needed.name for needed in started.needs] == ["first"]


def test_size_tiny_keeps_its_own_length_and_is_scored_its_own_way() -> None:
    words = unit("later", size="tiny").trainings[0].words
    assert "outer.steps=9" not in words
    assert "method.order=exact" in words
    assert unit("later", size="tiny").evaluate[2:4] == ("-k", "1")


def test_what_another_command_trained_or_scored_does_not_count() -> None:
    done = unit("first")
    done.run.mkdir(parents=True)
    (done.run / "STATUS.json").write_text('{"state": "done"}')
    (training,) = done.trainings
    (done.run / "command.txt").write_text(f"/bin/menura {' '.join(training.words)}\n")
    assert training.is_done
    (done.run / "command.txt").write_text("/bin/menura train tiny/maml --seed 1\n")
    assert not training.is_done
    done.evaluation.mkdir(parents=True)
    scores = done.evaluation / "scores.json"
    scores.write_text(json.dumps({"origin": {"words": list(done.evaluate)}}))
    assert done.is_scored
    scores.write_text(json.dumps({"origin": {"words": [*done.evaluate, "--greedy"]}}))
    assert not done.is_scored


def test_an_interrupted_training_is_not_done() -> None:
    begun = unit("first")
    begun.run.mkdir(parents=True)
    (begun.run / "STATUS.json").write_text('{"state": "interrupted"}')
    (training,) = begun.trainings
    (begun.run / "command.txt").write_text(f"/bin/menura {' '.join(training.words)}\n")
    assert not training.is_done


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        TRIAL.row("frist")
    assert "no row of trial is called 'frist' (hint: did you mean first?)" in str(caught.value)
    with pytest.raises(ConfigError, match="no experiment"):
        experiment("cmal")


def test_a_learning_rate_is_chosen_by_the_first_seed_on_validation_personas(runs: Path) -> None:
    row = replace(TRIAL.row("first"), rates=(1e-4, 1e-3, 1e-2))
    trial = replace(TRIAL, rows=(row, *TRIAL.rows[1:]))
    first, second = (Unit(trial, row, seed, "cpu") for seed in (0, 1))
    assert [training.words[5] for training in first.trainings] == ["outer.lr=0.0001", "outer.lr=0.001", "outer.lr=0.01"]
    for training, best in zip(first.trainings, ("3.1", "2.9", "null"), strict=True):
        training.folder.mkdir(parents=True)
        (training.folder / "STATUS.json").write_text(f'{{"state": "done", "best": {best}}}')
    assert first.run == runs / "trial@cpu" / "first-0-0.001"
    assert second.validation_losses == {1e-4: 3.1, 1e-3: 2.9, 1e-2: None}
    assert [training.words[5] for training in second.trainings] == ["outer.lr=0.001"]
    assert f"model.init_from={first.run}" in Unit(trial, trial.row("later"), 0, "cpu").trainings[0].words
    (tiny,) = Unit(trial, row, 0, "tiny").trainings
    assert not any(word.startswith("outer.lr") for word in tiny.words), "size tiny has one rate"


def test_a_row_may_take_the_learning_rate_that_another_one_chose(runs: Path) -> None:
    row = replace(TRIAL.row("first"), rates=(1e-4, 1e-3))
    trial = replace(TRIAL, rows=(row, replace(row, name="longer", rates=(), rate_of="first")))
    for training, best in zip(Unit(trial, row, 0, "cpu").trainings, ("3.1", "2.9"), strict=True):
        training.folder.mkdir(parents=True)
        (training.folder / "STATUS.json").write_text(f'{{"state": "done", "best": {best}}}')
    longer = Unit(trial, trial.row("longer"), 0, "cpu")
    assert longer.trainings[0].words[5] == "outer.lr=0.001"
    assert [needed.name for needed in longer.needs] == ["first"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_experiment_names_recipes_rows_and_columns_that_are_there(name: str) -> None:
    one = EXPERIMENTS[name]
    for row in one.rows:
        recipe(row.recipe, "tiny" if row.recipe in SIZED else None)
        for before in filter(None, (row.start, row.run_of)):
            assert one.rows.index(one.row(before)) < one.rows.index(row), "what it needs ranks higher"
    for table in one.tables:
        named = {*table.rows, *filter(None, (table.against,))}
        assert named <= {row.name for row in one.rows}
        assert all(len(printed) == len(table.paper_columns) for printed in table.paper.values())
        lines = {f"{row}: {kind}" for row in table.rows for kind in table.kinds}
        assert set(table.paper) <= {*table.rows, *lines}
    assert len({row.name for row in one.rows}) == len(one.rows)


def test_a_recipe_with_sizes_is_given_the_size() -> None:
    one = EXPERIMENTS["cmaml"]
    words = Unit(one, one.rows[0], 2, "paper").trainings[0].words
    assert words[:6] == ("train", "cmaml/maml_seq2spg", "--size", "paper", "--seed", "2")
