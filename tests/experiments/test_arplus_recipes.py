from dataclasses import asdict, replace

import pytest

from menura.experiments.recipes import recipe
from menura.experiments.recipes.arplus import ROWS

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
    assert len({replace(c.outer, rate=1.0, plateau=0, floor=0.0) for c in made}) == 1


def test_published_rates_are_the_study_s() -> None:
    rates = {name: recipe(name, "cpu").outer.rate for name in ROWS if name.endswith("-as-published")}
    assert rates.pop("arplus/arplus-as-published") == 2e-3
    assert set(rates.values()) == {1.5e-4}


def test_strength_asks_no_more_dialogues_of_a_task_than_there_are() -> None:
    for size in SIZES:
        config = recipe("arplus/strength", size)
        assert config.outer.shots + config.outer.queries <= config.data.cap
    assert recipe("arplus/strength", "paper").outer.queries == recipe("arplus/arplus", "paper").outer.queries


@pytest.mark.parametrize("size", SIZES)
def test_strength_alone_is_strength_without_b_of_eq_5(size: str) -> None:
    begun, alone = (asdict(recipe(f"arplus/{name}", size).model) for name in ("strength", "strength-alone"))
    assert {name for name in begun if begun[name] != alone[name]} == {"bias", "start"}
    assert alone["bias"] == 0
    assert alone["start"] == f"runs/arplus-strength-{size}"
