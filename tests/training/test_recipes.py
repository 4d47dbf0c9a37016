"""Every named experiment can be made, at each of its sizes, and says which one it is."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import counts
import pytest
from made_up_chat import settings, write

from menura.adaptation.finetune import Finetune, PretrainOnly
from menura.adaptation.maml import Maml
from menura.cli.main import run
from menura.errors import ConfigError
from menura.training.config import RunConfig
from menura.training.recipes import RECIPES, SIZED, SIZES, recipe
from menura.training.recipes.plato_baselines import ROWS as BASELINES

ROWS = tuple(name for name in SIZED if name.startswith("mamlviapp/"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_carries_its_own_name(name: str) -> None:
    assert recipe(name).recipe == name


@pytest.mark.parametrize("name", SIZED)
@pytest.mark.parametrize("size", SIZES)
def test_a_recipe_of_a_size_is_found_again_by_the_name_it_carries(name: str, size: str) -> None:
    made = recipe(name, size)
    assert made.recipe == f"{name}@{size}"
    assert recipe(made.recipe) == made


def test_the_paper_s_rows_differ_in_what_their_names_say() -> None:
    made = {name.removeprefix("mamlviapp/"): recipe(name, "paper") for name in ROWS}
    adapters = {row: config.model.adapters.kind for row, config in made.items()}
    assert {row for row, kind in adapters.items() if kind != "none"} == {"extra_place", "extra_place_unfixed"}
    assert {row for row, config in made.items() if config.model.train_base} == {"extra_place_unfixed"}
    assert {row for row, config in made.items() if config.model.reinit != "none"} == {
        "pretrain",
        "reinit",
        "reinit_maml",
    }
    pooled = {row for row, config in made.items() if isinstance(config.method, Finetune)}
    assert pooled == {"pretrain", "reinit", "transfer", "transfer_tuned"}
    assert {row for row, config in made.items() if isinstance(config.method, PretrainOnly)} == {"prompt"}
    for row in ("in_place", "extra_place", "extra_place_unfixed", "reinit_maml"):
        config = made[row]
        assert isinstance(config.method, Maml)
        assert (config.method.inner.lr, config.method.inner.batch_size, config.method.inner.optimizer) == (
            1e-3,
            4,
            "sgd",
        )
        assert (config.outer.lr, config.outer.meta_batch_size, config.model.base) == (3e-4, 2, "gpt2")
    assert (made["transfer"].outer.lr, made["transfer"].outer.cosine) == (1e-3, False)
    assert (made["transfer_tuned"].outer.lr, made["transfer_tuned"].outer.weight_decay) == (5e-5, 0.01)


@pytest.mark.parametrize("size", SIZES)
def test_every_row_adapts_by_the_same_inner_loop_but_for_the_rate(size: str) -> None:
    inner = [config.method.inner for config in (recipe(name, size) for name in ROWS) if hasattr(config.method, "inner")]
    assert len(inner) == len(ROWS) - 1
    assert len({replace(one, lr=1.0) for one in inner}) == 1


def test_a_size_that_is_none_and_a_size_of_what_has_none_are_told() -> None:
    with pytest.raises(ConfigError, match="unknown size 'huge'"):
        recipe("mamlviapp/in_place", "huge")
    with pytest.raises(ConfigError, match="comes in one size only"):
        recipe("tiny/maml", "cpu")


OF_A_KIND = 2
TRAINED_ELSEWHERE = ("cmaml/", "quoted/", "plato-grid/", *BASELINES)


def rows_to_train() -> list[str]:
    """Return all rows; in a quick run two of each kind of model, method and adapters, each another run at tiny size.

    Rows that their own files train and judge are left to them then: those of cmaml to test_cmaml_recipes.py, the
    quoted ones to test_mamlviapp_baselines.py and test_plato_baselines.py, the grid's to test_plato_grid.py.
    """
    names = [name for name in SIZED if name != "mamlviapp/prompt"]
    if counts.full:
        return names
    kept: dict[str, RunConfig] = {}
    kinds: Counter[tuple[str, ...]] = Counter()
    for name in names:
        config = replace(recipe(name, "tiny"), recipe="")
        kind = (name.partition("/")[0], *kind_of(config))
        if config not in kept.values() and kinds[kind] < OF_A_KIND:
            kept[name] = config
            kinds[kind] += not name.startswith(TRAINED_ELSEWHERE)
    return [name for name in kept if not name.startswith(TRAINED_ELSEWHERE)]


def kind_of(config: RunConfig) -> tuple[str, ...]:
    """Return what a run is made of: its model, its method and the kind of its adapters, if it has any."""
    adapters = getattr(config.model, "adapters", None)
    return config.model.name, config.method.name, adapters.kind if adapters else ""


@pytest.mark.parametrize("name", rows_to_train())
def test_every_row_trains_and_is_evaluated_in_seconds_at_tiny_size(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write(tmp_path / "chat.jsonl")
    sets = settings(corpus, "outer.steps=2", "outer.eval_every=2")
    folder, begun = str(tmp_path / "run"), str(tmp_path / "begun")
    if name == "arplus/strength-alone":
        assert run(["train", "arplus/strength", "--size", "tiny", "--out", begun, *sets]) == 0
        sets += ["--set", f"model.init_from={begun}"]
    assert run(["train", name, "--size", "tiny", "--out", folder, *sets]) == 0
    words = ["eval", folder, "--k", "1,2", "--personas", "3", "--queries", "1", "--metrics", "ppl"]
    assert run([*words, "--out", str(tmp_path / "results")]) == 0
    told = capsys.readouterr().out
    adapts = not isinstance(recipe(name, "tiny").method, PretrainOnly)
    for label in ("un-adapted", *(("wrong persona, K=1", "adapted, K=2") if adapts else ())):
        assert f"| {label} " in told
