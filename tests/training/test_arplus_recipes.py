from dataclasses import asdict, replace

import pytest

from menura.training.recipes import recipe
from menura.training.recipes.arplus import ROWS

SIZES = ("tiny", "cpu", "paper")


@pytest.mark.parametrize("size", SIZES)
def test_each_row_of_the_ablation_differs_from_ar_plus_in_its_part_alone(size: str) -> None:
    whole = asdict(recipe("arplus/arplus", size).model)
    parts = {"no-rezero": {"rezero"}, "no-factor-ff": {"feed_forward"}, "no-memn2n": {"memory"}}
    parts |= {"no-albert": {"embedding", "groups"}, "no-bart-mlm": {"auxiliary"}}
    for row, wanted in parts.items():
        made = asdict(recipe(f"arplus/{row}", size).model)
        assert {name for name in whole if whole[name] != made[name]} == wanted


@pytest.mark.parametrize("size", SIZES)
def test_all_rows_of_the_tables_learn_from_the_same_dialogues_in_as_many_steps(size: str) -> None:
    compared = [
        name for name in ROWS if name.removeprefix("arplus/") not in ("strength", "strength-alone", "maml", "cped")
    ]
    made = [recipe(name, size) for name in compared]
    assert len({config.data for config in made}) == 1
    assert len({replace(c.outer, lr=1.0, plateau_patience=0, min_lr=0.0) for c in made}) == 1


def test_published_rates_are_the_study_s() -> None:
    rates = {name: recipe(name, "cpu").outer.lr for name in ROWS if name.endswith("-as-published")}
    slow = {f"arplus/{row}-as-published" for row in ("ar", "no-rezero", "no-bart-mlm")}
    assert {name for name, rate in rates.items() if rate == 1.5e-4} == slow
    assert {name for name, rate in rates.items() if rate == 2e-3} == rates.keys() - slow
    assert len(rates) == 7


def test_at_the_study_s_sizes_the_usual_rate_falls_and_the_slow_one_stays() -> None:
    for name in ROWS:
        outer = recipe(name, "paper").outer
        if name.endswith("-as-published") or name == "arplus/ar":
            assert (outer.plateau_patience, outer.min_lr) == ((60, 1.5e-4) if outer.lr == 2e-3 else (0, 0.0))
        assert outer.weight_decay_of == "matrices"


def test_at_the_study_s_sizes_three_epochs_of_its_dialogues_are_learnt() -> None:
    config = recipe("arplus/arplus", "paper")
    assert (
        3 * config.data.total_train_dialogues
        <= config.outer.steps * config.outer.meta_batch_size
        < 3.1 * config.data.total_train_dialogues
    )


def test_strength_asks_no_more_dialogues_of_a_task_than_there_are() -> None:
    for size in SIZES:
        config = recipe("arplus/strength", size)
        assert config.outer.shots + config.outer.queries <= config.data.max_dialogues
    assert recipe("arplus/strength", "paper").outer.queries == recipe("arplus/arplus", "paper").outer.queries


@pytest.mark.parametrize("size", SIZES)
def test_strength_alone_is_strength_without_b_of_eq_5(size: str) -> None:
    begun, alone = (asdict(recipe(f"arplus/{name}", size).model) for name in ("strength", "strength-alone"))
    assert {name for name in begun if begun[name] != alone[name]} == {"bias", "init_from"}
    assert alone["bias"] == 0
    assert alone["init_from"] == f"arplus-strength-{size}"
