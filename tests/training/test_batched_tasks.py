"""Tasks of a step become one batch of the objective (``outer.batched``)."""

from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_chat import write
from small_training import config_for

from menura.errors import ConfigError
from menura.training.config import Outer
from menura.training.run_folder import Run
from menura.training.run_setup import prepare
from menura.training.trainer import Training

POOLED = ("method=pretrain-only", "outer.shots=0", "outer.queries=1", "outer.meta_batch_size=4")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl")


class Quiet:
    def step(self, step: int, steps: int, loss: float) -> None:
        pass

    def say(self, line: str) -> None:
        pass


def training(corpus: Path, folder: Path, *more: str) -> Training:
    config = config_for(corpus, *POOLED, *more, recipe="tiny/finetune")
    made = prepare(config)
    return Training(Run(folder), config, made.loaded.model, made.tasks("train"), made.tasks("valid"), Quiet())


def gradient_of(trained: Training, step: int = 0) -> tuple[dict[str, Any], Any]:
    sums = trained.gradient(step)
    return {name: value.grad for name, value in trained.weights.items()}, sums


def test_a_batch_of_tasks_has_the_objective_of_its_exchanges_together(corpus: Path, tmp_path: Path) -> None:
    trained = training(corpus, tmp_path, "outer.batched=2")
    found, sums = gradient_of(trained)
    episodes = list(trained._episodes(0))
    halves = [[e for episode in some for d in episode.query for e in d] for some in (episodes[:2], episodes[2:])]
    trained.optimizer.zero_grad()
    losses = [trained.model.loss(trained.model.batch(exchanges)) for exchanges in halves]
    (sum(loss.total for loss in losses) / 2).backward()
    for name, value in trained.weights.items():
        torch.testing.assert_close(found[name], value.grad, msg=name)
    assert sums.nll == pytest.approx(float(sum(loss.nll.detach().sum() for loss in losses)))


def test_one_task_a_batch_is_as_it_was(corpus: Path, tmp_path: Path) -> None:
    trained = training(corpus, tmp_path)
    assert trained.config.outer.batched == 1
    assert [e.persona_id for e in trained._batches(3)] == trained.drawn(3)
    assert [len(e.query) for e in trained._batches(3)] == [1, 1, 1, 1]


def test_all_tasks_of_a_step_are_in_one_batch_each_once(corpus: Path, tmp_path: Path) -> None:
    trained = training(corpus, tmp_path, "outer.batched=4")
    (batch,) = trained._batches(3)
    assert batch.query == tuple(dialogue for episode in trained._episodes(3) for dialogue in episode.query)
    assert batch.support == ()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"batched": 3}, "outer.batched: 3, must divide outer.meta_batch_size, 4"),
        ({"batched": 2, "shots": 1}, "outer.batched: 2, not with outer.shots, 1"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_settings_that_exclude_each_other_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Outer(**{"shots": 0, **settings}).check_together()
    with pytest.raises(ConfigError, match=r"outer.batched: 0, must be at least 1"):
        Outer(batched=0)
