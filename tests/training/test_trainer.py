import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from counts import count
from made_up_chat import settings, write
from rank_processes import Signalled, run
from small_training import STEPS, AfterStep, config_for, ended, status, train

import menura
from menura.artefacts import checkpoint, tensors
from menura.errors import DataError, EpisodeError, NumericalError, Stopped
from menura.training.run_folder import Run, Signals
from menura.training.run_setup import prepare
from menura.training.trainer import Training, held_out_nll, schedule

# The last two are those of a test with options, in test_meta_options.py, and of contracts/test_every_method.py.
RECIPES = ("tiny/finetune", "tiny/maml", "tiny/in-place", "tiny/maml-exact", "tiny/reptile")[
    : count(full_count=5, quick_count=3)
]


STOPS = [(signal.SIGTERM, 1), (signal.SIGINT, 3), (signal.SIGTERM, 4)]
STOPS += [(signal.SIGINT, 1), (signal.SIGTERM, 3), (signal.SIGINT, 4)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl")


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what a training ends in that nothing came in the way of."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(config_for(corpus), folder)
    return ended(folder)


def killing(number: signal.Signals, at: int) -> AfterStep:
    """Send this process a signal after a step."""

    def after(step: int, training: Training) -> None:
        if step == at:
            os.kill(os.getpid(), number)

    return after


def test_the_same_seed_gives_the_same_bits(corpus: Path, whole: dict[str, Any], tmp_path: Path) -> None:
    train(config_for(corpus), tmp_path / "again")
    assert ended(tmp_path / "again") == whole


def test_another_seed_gives_another_run(corpus: Path, whole: dict[str, Any], tmp_path: Path) -> None:
    train(config_for(corpus, "seed=1"), tmp_path / "other")
    assert ended(tmp_path / "other")["trace"] != whole["trace"]


def test_the_trace_has_every_step_once_with_its_exact_loss(whole: dict[str, Any]) -> None:
    steps = [entry for entry in whole["trace"] if "loss" in entry]
    assert [entry["step"] for entry in steps] == list(range(1, STEPS + 1))
    assert all(float.fromhex(entry["loss_hex"]) == entry["loss"] for entry in steps)
    assert [entry["step"] for entry in whole["trace"] if "valid_after" in entry] == [4, STEPS]
    assert whole["status"] == {"state": "done", "step": STEPS, "best": whole["status"]["best"]}
    assert whole["status"]["best"] == min(entry["valid_after"] for entry in whole["trace"] if "valid_after" in entry)


@pytest.mark.parametrize(("number", "at"), STOPS[: count(full_count=6, quick_count=3)])
def test_a_stopped_run_goes_on_to_the_same_bits(
    corpus: Path, whole: dict[str, Any], tmp_path: Path, number: signal.Signals, at: int
) -> None:
    with pytest.raises(Stopped, match=f"stopped after step {at}, saved") as stopped:
        train(config_for(corpus), tmp_path / "run", killing(number, at))
    assert stopped.value.exit_code == 128 + number
    assert status(tmp_path / "run") == {"state": "interrupted", "step": at}
    assert (tmp_path / "run" / "checkpoints" / f"step_{at:06d}" / "manifest.json").exists()
    assert f"going on after step {at}" in train(config_for(corpus), tmp_path / "run")
    assert ended(tmp_path / "run") == whole


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_method_goes_on_to_the_same_bits(corpus: Path, tmp_path: Path, recipe: str) -> None:
    config = config_for(corpus, "outer.steps=4", recipe=recipe)
    train(config, tmp_path / "whole")
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", killing(signal.SIGTERM, 2))
    train(config, tmp_path / "run")
    assert ended(tmp_path / "run") == ended(tmp_path / "whole")


def test_a_stopped_process_leaves_with_143_and_another_hash_seed_changes_nothing(
    corpus: Path, whole: dict[str, Any], tmp_path: Path
) -> None:
    words = ["train", "tiny/maml", "--out", str(tmp_path / "run"), *settings(corpus, f"outer.steps={STEPS}")]
    stopped = run([words], tmp_path, Signalled(0, 3, signal.SIGTERM))
    assert stopped.codes == [143], stopped.said
    assert "error[stopped]: stopped after step 3, saved; the same command goes on" in stopped.said[0]
    more = {"PYTHONPATH": str(Path(menura.__file__).parents[1]), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "menura", *words],
        env=os.environ | more,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "error[" not in done.stderr
    assert ended(tmp_path / "run") == whole


def test_a_finished_run_trains_no_further(corpus: Path, whole: dict[str, Any], tmp_path: Path) -> None:
    def never(step: int, training: Training) -> None:
        raise AssertionError(f"step {step} was taken again")

    train(config_for(corpus), tmp_path / "run")
    train(config_for(corpus), tmp_path / "run", never)
    assert ended(tmp_path / "run") == whole


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_a_damaged_checkpoint_is_told_once_and_the_one_before_is_used(
    corpus: Path, whole: dict[str, Any], tmp_path: Path, name: str
) -> None:
    with pytest.raises(Stopped):
        train(config_for(corpus), tmp_path / "run", killing(signal.SIGTERM, 5))
    path = tmp_path / "run" / "checkpoints" / "step_000005" / name
    path.write_bytes(path.read_bytes()[:-2])
    said = train(config_for(corpus), tmp_path / "run")
    assert len([line for line in said if "step_000005 is damaged" in line]) == 1
    assert "going on after step 4" in said
    assert ended(tmp_path / "run") == whole


def test_where_no_checkpoint_is_whole_nothing_is_trained(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(config_for(corpus), tmp_path / "run", killing(signal.SIGTERM, 3))
    for path in (tmp_path / "run" / "checkpoints").glob("*/model.safetensors"):
        path.unlink()
    with pytest.raises(DataError, match="no checkpoint is whole.*--fresh"):
        train(config_for(corpus), tmp_path / "run")


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ("tiny/finetune", r"step 4: loss or gradient not finite \(personas person-\d+\).*--set outer.lr=0.003"),
        ("tiny/maml", r"inner step 1: the loss is not finite \(dialogues d-.*smaller inner rate"),
    ],
)
def test_weights_that_are_no_number_are_found_in_the_next_step(
    corpus: Path, tmp_path: Path, recipe: str, told: str
) -> None:
    def poison(step: int, training: Training) -> None:
        if step == 3:
            next(iter(training.weights.values())).data.view(-1)[0] = math.nan

    with pytest.raises(NumericalError, match=told) as failed:
        train(config_for(corpus, recipe=recipe), tmp_path / "run", poison)
    assert failed.value.exit_code == 6
    assert status(tmp_path / "run") == {"state": "failed", "step": 3, "code": "not_finite"}
    assert [entry["step"] for entry in Run(tmp_path / "run").trace()] == [1, 2, 3]
    kept = checkpoint.newest(tmp_path / "run" / "checkpoints", pytest.fail)
    assert kept is not None
    assert kept.step == 2
    assert all(torch.isfinite(value).all() for value in kept.weights.values())


@pytest.mark.parametrize("setting", ["outer.lr=1e30", "outer.lr=1e25"])
def test_a_rate_too_large_fails_with_only_finite_weights_on_disk(corpus: Path, tmp_path: Path, setting: str) -> None:
    config = config_for(corpus, setting, "outer.save_every=1")
    with pytest.raises(NumericalError):
        train(config, tmp_path / "run")
    found = status(tmp_path / "run")
    assert (found["state"], found["code"]) == ("failed", "not_finite")
    for path in (tmp_path / "run").rglob("*.safetensors"):
        assert all(torch.isfinite(value).all() for value in tensors.load(path).values()), path
    assert "NaN" not in (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8")


def test_weights_that_a_step_broke_are_found_in_that_step(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_step, taken = torch.optim.AdamW.step, []

    def breaking(self: torch.optim.AdamW) -> None:
        whole_step(self)
        taken.append(1)
        if len(taken) == 3:
            self.param_groups[0]["params"][0].data.view(-1)[0] = math.inf

    monkeypatch.setattr(torch.optim.AdamW, "step", breaking)
    with pytest.raises(NumericalError, match="step 3: 1 value is not finite in adapters"):
        train(config_for(corpus, "outer.save_every=1"), tmp_path / "run")
    assert status(tmp_path / "run") == {"state": "failed", "step": 2, "code": "not_finite"}
    assert [entry["step"] for entry in Run(tmp_path / "run").trace()] == [1, 2]
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["step_000001", "step_000002"]


def test_a_check_that_is_no_number_fails_the_run(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("menura.training.trainer.held_out_nll", lambda *given: (1.0, math.nan))
    with pytest.raises(NumericalError, match="step 4, held-back personas"):
        train(config_for(corpus), tmp_path / "run")
    assert status(tmp_path / "run")["state"] == "failed"


def test_a_check_of_hopeless_weights_does_not_overflow(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("menura.training.trainer.held_out_nll", lambda *given: (1e4, 2e4))
    said = train(config_for(corpus), tmp_path / "run")
    assert "step 4: held-back personas PPL inf -> inf adapted" in said


def test_the_best_weights_are_those_of_the_best_check(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = iter([(3.0, 2.0), (3.0, 2.5)])  # the second is worse
    monkeypatch.setattr("menura.training.trainer.held_out_nll", lambda *given: next(checks))
    train(config_for(corpus), tmp_path / "run")
    assert tensors.metadata(tmp_path / "run" / "best.safetensors")["step"] == "4"
    assert status(tmp_path / "run")["best"] == 2.0


def test_a_check_looks_only_at_held_back_personas_and_changes_no_weights(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: set[str] = set()

    def noting(model: Any, adapt: Any, tasks: Any, shots: int, queries: int) -> tuple[float, float]:
        looked_at.update(task.persona_id for task in tasks)
        before = {name: value.clone() for name, value in model.named_parameters()}
        found = held_out_nll(model, adapt, tasks, shots, queries)
        assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
        return found

    monkeypatch.setattr("menura.training.trainer.held_out_nll", noting)
    config = config_for(corpus, "outer.eval_personas=50")
    train(config, tmp_path / "run")
    sides = prepare(config).split.splits
    valid, test = ({task.persona_id for task in sides[side]} for side in ("valid", "test"))
    assert looked_at
    assert looked_at <= valid
    assert not looked_at & test


def test_where_nobody_is_held_back_the_last_weights_are_kept(corpus: Path, tmp_path: Path) -> None:
    train(config_for(corpus, "outer.eval_personas=0", "outer.eval_every=2"), tmp_path / "run")
    left = ended(tmp_path / "run")
    assert left["best"][0] == left["model"]
    assert left["best"][1]["step"] == str(STEPS)


def test_too_few_dialogues_everywhere_are_told_before_training(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(EpisodeError, match=r"no training persona has 9 \+ 1 dialogues"):
        train(config_for(corpus, "outer.shots=9"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_episodes_of_a_step_depend_on_seed_and_step_alone(corpus: Path, tmp_path: Path) -> None:
    config = config_for(corpus, "outer.meta_batch_size=3")
    given = prepare(config)

    def drawn(steps: list[int], seed: int) -> dict[int, Any]:
        training = Training(
            Run(tmp_path), replace(config, seed=seed), given.loaded.model, given.tasks("train"), [], progress=None
        )
        return {step: list(training._episodes(step)) for step in steps}

    assert drawn([0, 1, 5], 0)[5] == drawn([5], 0)[5]
    assert drawn([5], 0) != drawn([5], 1)
    for episode in drawn([5], 0)[5]:
        support, query = ({e.dialogue_id for part in side for e in part} for side in (episode.support, episode.query))
        assert len(support) == 2
        assert len(query) == 1
        assert not support & query


def test_the_rate_rises_to_its_full_height_and_falls_to_a_tenth() -> None:
    shares = [schedule(step, 100, 10) for step in range(101)]
    assert shares[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert max(shares) == 1.0 == shares[9] == shares[10]
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[55] == pytest.approx(0.55)
    assert shares[100] == pytest.approx(0.1)
    assert schedule(0, 1, 0) == 1.0
    assert schedule(5, 5, 5) == 1.0


def test_a_second_signal_stops_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr("os._exit", left.append)
    before = signal.getsignal(signal.SIGTERM)
    with Signals().watched() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        assert signals.caught == signal.SIGTERM
        assert left == []
        os.kill(os.getpid(), signal.SIGINT)
    assert left == [130]
    assert signal.getsignal(signal.SIGTERM) is before
