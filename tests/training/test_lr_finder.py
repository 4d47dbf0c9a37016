"""A sweep of rates: what it suggests, and that a training is afterwards as before."""

import copy
import csv
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from made_up_chat import settings, write
from small_training import Watched, config_for, train
from torch import Tensor, nn

from menura.cli.main import run
from menura.errors import ConfigError, NumericalError
from menura.training.lr_finder import Sweep, Tried, find_lr, suggestion
from menura.training.run_folder import Run
from menura.training.run_setup import prepare
from menura.training.trainer import Training

SHORT = Sweep(1e-5, 1.0, 8)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl")


def training_of(corpus: Path, folder: Path, *more: str, recipe: str = "tiny/maml") -> Training:
    config = config_for(corpus, *more, recipe=recipe)
    given = prepare(config)
    return Training(Run(folder), config, given.loaded.model, given.tasks("train"), given.tasks("valid"), Watched(None))


def state_of(training: Training) -> tuple[dict[str, Tensor], Any, Tensor]:
    model = {name: value.clone() for name, value in training.model.state_dict().items()}
    return model, copy.deepcopy(training.optimizer.state_dict()), torch.random.get_rng_state()


def assert_same(before: tuple[dict[str, Tensor], Any, Tensor], after: tuple[dict[str, Tensor], Any, Tensor]) -> None:
    assert all(torch.equal(value, after[0][name]) for name, value in before[0].items())
    assert before[1]["param_groups"] == after[1]["param_groups"]
    assert before[1]["state"].keys() == after[1]["state"].keys()
    for key, kinds in before[1]["state"].items():
        assert all(torch.equal(value, after[1]["state"][key][kind]) for kind, value in kinds.items())
    assert torch.equal(before[2], after[2])


class Bowl:
    """A training of plain descent on half the square of some numbers: rates above 2 diverge."""

    def __init__(self) -> None:
        self.model = nn.Linear(4, 1, bias=False).double()
        self.model.device = torch.device("cpu")  # type: ignore[assignment]  # as a dialogue model tells it
        with torch.no_grad():
            self.model.weight.fill_(3.0)
        self.weights = dict(self.model.named_parameters())
        self.optimizer = torch.optim.SGD(self.weights.values(), lr=1.0)
        self.config = SimpleNamespace(outer=SimpleNamespace(steps=5, shots=1), method=None, precision="float32")
        self.masks: dict[str, Any] = {}
        self.progress = SimpleNamespace(step=lambda *told: None)
        self.steps: list[int] = []

    def optimizer_step(self, step: int, rate: float) -> tuple[Any, float]:
        self.steps.append(step)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.zero_grad()
        loss = (self.model.weight**2).sum() / 2
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return SimpleNamespace(loss=float(loss.detach())), 0.0


def bowl() -> Any:
    """Return one in place of a training, of which it has what a sweep asks for."""
    return Bowl()


def test_rates_rise_by_one_factor_between_both_ends() -> None:
    rates = Sweep(1e-6, 1e-2, 5).rates()
    assert rates == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2])


@pytest.mark.parametrize("wrong", [(0.0, 1.0, 9), (1.0, 0.1, 9), (1e-3, 1.0, 4)])
def test_a_sweep_that_does_not_rise_or_is_too_short_is_refused(wrong: tuple[float, float, int]) -> None:
    with pytest.raises(ConfigError):
        Sweep(*wrong)


def test_on_a_bowl_the_suggestion_is_below_what_diverges_and_the_sweep_stops_there() -> None:
    training = bowl()
    tried = find_lr(training, Sweep(1e-4, 1e3, 60))
    assert 1e-2 < suggestion(tried) < 2.0
    assert 2.0 < tried[-1].lr < 200.0
    assert max(training.steps) == 4  # of the five there are
    assert training.model.weight.tolist() == [[3.0] * 4]


def test_the_mean_is_corrected_for_having_begun_at_nothing() -> None:
    tried = find_lr(bowl(), Sweep(1e-9, 1e-8, 8))
    assert [one.smoothed for one in tried] == pytest.approx([18.0] * 8, rel=1e-6)
    weights = [0.9**age for age in range(8)][::-1]
    mean = sum(w * t.loss for w, t in zip(weights, tried, strict=True)) / sum(weights)
    assert tried[-1].smoothed == pytest.approx(mean, rel=1e-14)


def test_what_diverges_at_once_says_to_start_lower() -> None:
    training = bowl()
    with pytest.raises(NumericalError, match="diverged after . points") as caught:
        find_lr(training, Sweep(1e2, 1e6, 30))
    assert (caught.value.problems[0].code, caught.value.problems[0].hint) == (
        "diverged_at_once",
        "start lower: --from 1e-01",
    )
    assert training.model.weight.tolist() == [[3.0] * 4]


def test_where_no_rate_lowers_the_loss_none_is_suggested() -> None:
    rising = [Tried(rate, 1.0 + rate, 1.0 + rate) for rate in Sweep(1e-3, 1.0, 20).rates()]
    with pytest.raises(NumericalError, match="falls at no rate"):
        suggestion(rising)


def test_the_first_losses_suggest_nothing() -> None:
    falling = [Tried(rate, 5.0, 5.0 - 1e-2 * place) for place, rate in enumerate(Sweep(1e-3, 1.0, 30).rates())]
    leap = [Tried(falling[0].lr, 9.0, 9.0), *falling[1:]]
    assert suggestion(leap) == suggestion(falling)
    assert suggestion(leap) > falling[9].lr


@pytest.mark.parametrize("recipe", ["tiny/finetune", "tiny/maml", "tiny/maml-exact", "tiny/reptile"])
def test_a_training_is_afterwards_bit_by_bit_as_before(corpus: Path, tmp_path: Path, recipe: str) -> None:
    training = training_of(corpus, tmp_path / "run", recipe=recipe)
    training.optimizer_step(0, 1e-2)  # so that the optimiser has something to restore
    training.optimizer.zero_grad()
    before = state_of(training)
    tried = find_lr(training, SHORT)
    assert_same(before, state_of(training))
    assert [one.lr for one in tried] == pytest.approx(SHORT.rates())
    assert all(math.isfinite(one.loss) for one in tried)
    assert not (tmp_path / "run").exists()


def test_structures_are_found_for_the_sweep_alone(corpus: Path, tmp_path: Path) -> None:
    # Two steps of two tasks: the sweep goes through them again and again.
    model = (
        "model=seq2spg",
        "model.hidden_size=12",
        "model.num_layers=1",
        "outer.steps=2",
        "outer.meta_batch_size=2",
        "outer.shots=2",
    )
    method = ("method=cmaml", "method.gamma=0.15", "method.inner.lr=0.05", "method.prune_epochs=2")
    training = training_of(corpus, tmp_path / "run", *model, *method)
    before, take = state_of(training), training.optimizer_step
    found: set[str] = set()

    def watched(step: int, rate: float) -> Any:
        found.update(training.masks)
        return take(step, rate)

    training.optimizer_step = watched  # type: ignore[method-assign, assignment]  # watched, it is what it was
    find_lr(training, SHORT)
    assert_same(before, state_of(training))
    assert found == {*training.drawn(0), *training.drawn(1)}
    assert not training.masks
    assert not (tmp_path / "run").exists()


def test_the_command_writes_a_picture_and_the_points_and_no_run(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "tiny/finetune", "--find-lr", "--from", "1e-5", "--to", "10", "--points", "25"]
    assert run([*words, "--out", str(tmp_path / "rates"), *settings(corpus)]) == 0
    assert "steepest descent at" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "rates").iterdir()} == {"rates.csv", "rates.svg"}
    lines = list(csv.DictReader((tmp_path / "rates" / "rates.csv").read_text(encoding="utf-8").splitlines()))
    assert float(lines[0]["lr"]) == 1e-5
    texts = [e.text or "" for e in ElementTree.parse(tmp_path / "rates" / "rates.svg").iter() if e.tag.endswith("text")]
    assert any(text.startswith("suggestion") for text in texts)


def test_a_run_s_folder_is_left_alone(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(config_for(corpus, "outer.steps=2"), tmp_path / "run")
    there = sorted(path.name for path in (tmp_path / "run").rglob("*"))
    assert run(["train", "tiny/maml", "--find-lr", "--out", str(tmp_path / "run"), *settings(corpus)]) == 2
    assert "is a run's folder" in capsys.readouterr().err
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == there


def test_how_without_find_rate_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "tiny/maml", "--from", "1e-3"]) == 2
    assert "add --find-lr" in capsys.readouterr().err
