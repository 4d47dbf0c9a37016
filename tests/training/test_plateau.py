"""A rate that falls where the loss does not, as torch's own, and a training with it."""

import random
import signal
from pathlib import Path

import pytest
import torch
from made_up_chat import write
from small_training import config_for, ended, train
from torch.optim.lr_scheduler import ReduceLROnPlateau

from menura.errors import ConfigError, Stopped
from menura.training.plateau import Plateau
from menura.training.run_folder import Run


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl")


def lrs_of(losses: list[float], plateau: Plateau) -> list[float]:
    rates = []
    for loss in losses:
        plateau.step(loss)
        rates.append(plateau.lr)
    return rates


def test_a13_from_two_thousandths_down_to_the_floor_there_are_five_rates() -> None:
    rates = lrs_of([1.0] * 1000, Plateau(2e-3, 60, 0.5, 1.5e-4))
    assert list(dict.fromkeys([2e-3, *rates])) == [2e-3, 1e-3, 5e-4, 2.5e-4, 1.5e-4]
    assert rates.index(1e-3) == 61  # the first loss is a lowest, then more than 60 are not


@pytest.mark.parametrize(("falls", "noise"), [(0.995, 0.2), (0.99, 0.5), (1 - 1e-5, 0.0), (1 - 1.2e-5, 0.0)])
def test_any_losses_give_the_rates_of_torch_s_scheduler(falls: float, noise: float) -> None:
    rng = random.Random(1)
    # The last two fall by less a step than counts as a new lowest.
    losses = [5 * falls**step + rng.gauss(0, noise) for step in range(600)]
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=2e-3)
    oracle = ReduceLROnPlateau(optimizer, mode="min", factor=0.5, patience=7, min_lr=1e-6)
    wanted = []
    for loss in losses:
        oracle.step(loss)
        wanted.append(optimizer.param_groups[0]["lr"])
    found = lrs_of(losses, Plateau(2e-3, 7, 0.5, 1e-6))
    assert found == wanted
    assert len(set(found)) > 4


PLATEAU = ("outer.cosine=no", "outer.plateau_patience=1", "outer.lr=1e-6", "outer.min_lr=1e-7", "outer.steps=8")


def test_a_stopped_run_goes_on_to_the_same_rates_and_bits(corpus: Path, tmp_path: Path) -> None:
    # A rate of next to nothing: losses then differ by their episodes alone, and some are no new lowest.
    config = config_for(corpus, *PLATEAU, recipe="tiny/finetune")
    train(config, tmp_path / "whole")
    noted = [entry["lr"] for entry in Run(tmp_path / "whole").trace() if "lr" in entry]
    assert len(noted) == 8
    assert noted[-1] < noted[3] == config.outer.lr  # when it stops, one loss was waited for, and one is missing
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", lambda step, _: signal.raise_signal(signal.SIGTERM) if step == 3 else None)
    train(config, tmp_path / "run")
    assert ended(tmp_path / "run") == ended(tmp_path / "whole")


def test_it_excludes_the_cosine_and_a_floor_above_the_rate(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not with outer.cosine"):
        train(config_for(corpus, "outer.plateau_patience=3"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"outer\.min_lr: 0\.5"):
        train(config_for(corpus, "outer.plateau_patience=3", "outer.cosine=no", "outer.min_lr=0.5"), tmp_path / "run")
    with pytest.raises(ConfigError, match="between 0 and 1"):
        config_for(corpus, "outer.plateau_factor=1.0")
