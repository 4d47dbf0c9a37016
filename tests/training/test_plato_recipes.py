"""PLATO's recipes: rows differ in what their names say, and in nothing else."""

from typing import Any

import pytest

from menura.models.plato.config import PlatoConfig
from menura.training.config import RunConfig, as_json, differences
from menura.training.recipes import recipe
from menura.training.recipes.plato_latent import SEARCH

SIZES = ("tiny", "cpu", "paper")
AGAINST_DEATH: dict[str, Any] = {"targets": "none", "mutual_info_weight": 0.0, "selection": "mask"}


def model_of(config: RunConfig) -> PlatoConfig:
    assert isinstance(config.model, PlatoConfig)
    return config.model


def changed(one: RunConfig, other: RunConfig) -> set[str]:
    """Return the settings in which two recipes differ, their names left aside."""
    lines = differences(as_json(one), as_json(other))
    return {line.split(":")[0] for line in lines} - {"recipe"}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("row", [row for row in SEARCH if row != "plain"])
def test_a_row_of_the_search_differs_from_plain_in_its_own_settings_alone(row: str, size: str) -> None:
    plain, made = recipe("plato-latent/plain", size), recipe(f"plato-latent/{row}", size)
    wanted = {f"model.{name}" for name in SEARCH[row] if size == "cpu" or name != "selection"}
    assert changed(plain, made) == wanted


def test_plain_has_nothing_against_a_dead_latent() -> None:
    model = model_of(recipe("plato-latent/plain", "cpu"))
    assert {name: getattr(model, name) for name in AGAINST_DEATH} == AGAINST_DEATH
    assert model.rules.sampling == "gumbel_st"


def test_the_paper_row_is_the_papers_objective_at_the_same_size_with_the_same_steps() -> None:
    usual, paper = recipe("plato/finetune-dailydialog", "cpu"), recipe("plato/paper-dailydialog", "cpu")
    model = model_of(paper)
    assert {name: getattr(model, name) for name in AGAINST_DEATH} == AGAINST_DEATH
    assert (model.preset, model.recognition, model.rules.sampling) == ("paper", "bidirectional", "gumbel_soft")
    assert (model.rules.visibility, model.rules.prior, model.selection_weight) == ("prefix", "uniform", 1.0)
    assert not any(name.startswith(("outer", "data", "method")) for name in changed(usual, paper))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["plato/pretrain", "plato/finetune-dailydialog", "plato/finetune-avsd"])
def test_a_row_without_latent_has_the_same_data_and_steps(name: str, size: str) -> None:
    assert changed(recipe(name, size), recipe(f"{name}-without", size)) == {"model.num_latents"}


def test_every_batch_at_size_cpu_is_a_whole_step() -> None:
    for name in ("pretrain", "finetune-dailydialog", "finetune-personachat", "finetune-avsd"):
        outer = recipe(f"plato/{name}", "cpu").outer
        assert outer.batched == outer.meta_batch_size
        outer.check_together()
