"""The meta-learning engine's options, by the settings that a user writes, from training to a persona's file."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_up_chat import write
from small_training import AfterStep, config_for, ended, train

from menura.adaptation.inner_step import LOGARITHM, inner_lrs_of
from menura.adaptation.weights import adaptable_parameters
from menura.artefacts import persona_artefact, tensors
from menura.errors import ConfigError, MismatchError, Stopped
from menura.personas.adapt_persona import adapt_persona
from menura.personas.selection import Selection
from menura.registry import load_model
from menura.training.config import RunConfig
from menura.training.overrides import with_settings
from menura.training.run_setup import prepare

SAID = "second order: attention runs with its plain kernel, the fused ones differentiate once"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl")


def with_method(corpus: Path, *assignments: str) -> RunConfig:
    return with_settings(config_for(corpus, "outer.steps=4"), [f"method.{line}" for line in assignments])


def stopping(at: int) -> AfterStep:
    """Send this process a signal after a step."""
    return lambda step, training: signal.raise_signal(signal.SIGTERM) if step == at else None


@pytest.mark.parametrize(
    "assignments",
    [
        ("lr_mode=layer", "lr_steps=2", "multi_step=0.75"),
        ("order=exact", "recompute=yes", "lr_mode=layer", "inner.optimizer=adam"),
        ("exact_from=0.5",),
        ("trainable=attention",),
    ],
)
def test_a_stopped_run_with_options_goes_on_to_the_same_bits(
    corpus: Path, tmp_path: Path, assignments: tuple[str, ...]
) -> None:
    config = with_method(corpus, *assignments)
    said = train(config, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", stopping(2))
    train(config, tmp_path / "run")
    assert ended(tmp_path / "run") == ended(tmp_path / "whole")
    assert said.count(SAID) == config.method.second_order


def test_a_run_turns_with_the_share_of_training_that_is_done(corpus: Path, tmp_path: Path) -> None:
    traces = {}
    for name, assignments in {
        "first": ("inner.lr=0.3",),
        "half": ("inner.lr=0.3", "exact_from=0.5"),
        "exact": ("inner.lr=0.3", "order=exact"),
    }.items():
        train(with_method(corpus, *assignments), tmp_path / name)
        trace = ended(tmp_path / name)["trace"]
        traces[name] = {entry["step"]: entry["norm"] for entry in trace if "norm" in entry}
    assert [traces["half"][step] == traces["first"][step] for step in (1, 2, 3)] == [True, True, False]
    assert traces["exact"][1] != pytest.approx(traces["first"][1], rel=1e-3)


def test_learnt_rates_travel_with_the_start_and_are_used_from_it(corpus: Path, tmp_path: Path) -> None:
    config = with_method(corpus, "lr_mode=layer", "inner.lr=0.02")
    train(config, tmp_path / "run")
    best = tensors.load(tmp_path / "run" / "best.safetensors")
    assert best[LOGARITHM].shape[0] == 1
    assert len(best[LOGARITHM].unique()) > 1, "they were trained"
    started = load_model(replace(config.model, init_from=str(tmp_path / "run")))
    rates = inner_lrs_of(started.model)
    assert rates is not None
    assert torch.equal(rates.logarithm, best[LOGARITHM])
    task = prepare(config).split.splits["test"][0]
    moved = {}
    for name, rate in (("with", "0.5"), ("also with", "0.001")):
        method = with_settings(config, [f"method.inner.lr={rate}"]).method
        moved[name] = adapt_persona(started, method, Selection.first_of(task, 2), name="a")
    assert LOGARITHM not in moved["with"].weights
    for key, value in moved["with"].weights.items():
        assert torch.equal(moved["also with"].weights[key], value), "the start's rates stand in place of inner.lr"


def test_a_start_without_rates_keeps_the_inner_rate(corpus: Path, tmp_path: Path) -> None:
    config = with_method(corpus, "inner.lr=0.02")
    train(config, tmp_path / "run")
    onward = replace(config, model=replace(config.model, init_from=str(tmp_path / "run")))
    onward = with_settings(onward, ["method.lr_mode=layer", "outer.steps=1", "outer.lr=1e-12"])
    train(onward, tmp_path / "onward")
    best = tensors.load(tmp_path / "onward" / "best.safetensors")
    assert torch.allclose(best[LOGARITHM].exp(), torch.tensor(0.02))


def test_a_persona_of_parts_holds_those_alone_and_fits(corpus: Path, tmp_path: Path) -> None:
    config = with_method(corpus, "trainable=attention", "inner.lr=0.1")
    given = prepare(config)
    selection = Selection.first_of(given.split.splits["test"][0], 2)
    artefact = adapt_persona(given.loaded, config.method, selection, name="a")
    there = adaptable_parameters(given.loaded.model)
    assert artefact.weights.keys() == {name for name in there if "attention" in name} != set(there)
    artefact.write(tmp_path / "a.persona")
    read = persona_artefact.read(tmp_path / "a.persona")
    read.check_fits(given.loaded)
    for recipe in ({**read.recipe, "method": {"trainable": "mlp"}}, {"method": {}}, {"method": 3}, {}):
        with pytest.raises(MismatchError):
            replace(read, recipe=recipe).check_fits(given.loaded)


def test_parts_that_nothing_matches_end_a_training_before_it_begins(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"method.trainable: no weight has 'head' in its name.*there are adapters"):
        train(with_method(corpus, "trainable=head"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
