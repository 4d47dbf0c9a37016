"""A run of a method that learns jointly: its persona masks are found once, said, noted, written down and read again."""

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_chat import write
from small_training import AfterStep, config_for, ended, status, train

from menura.adaptation.cmaml import Cmaml
from menura.artefacts import tensors
from menura.errors import ConfigError, DataError, Stopped
from menura.training import persona_masks as run_structures
from menura.training.config import RunConfig
from menura.training.distributed import Alone
from menura.training.overrides import with_settings
from menura.training.run_folder import Run
from menura.training.run_setup import prepare
from menura.training.trainer import Training

SMALL = (
    "model=seq2spg",
    "model.hidden_size=12",
    "model.num_layers=1",
    "model.max_length=128",
    "outer.steps=4",
    "outer.meta_batch_size=3",
)
METHOD = ("method=cmaml", "method.gamma=0.15", "method.inner.lr=0.05", "method.prune_epochs=2")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("corpus") / "chat.jsonl")


def cmaml(corpus: Path, *more: str) -> RunConfig:
    return with_settings(config_for(corpus, *SMALL, "outer.shots=2"), [*METHOD, *more])


def stopping(at: int) -> AfterStep:
    """Send this process a signal after a step."""
    return lambda step, training: signal.raise_signal(signal.SIGTERM) if step == at else None


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return the folder of a training that nothing came in the way of, and what it said."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, train(cmaml(corpus), folder)


def test_c6_densities_and_likeness_are_said_once_and_noted(whole: tuple[Path, list[str]]) -> None:
    folder, said = whole
    (told,) = [line for line in said if line.startswith("persona masks of ")]
    assert "private.1.weight keeps" in told
    assert "mean Jaccard" in told
    (noted,) = [entry["masks"] for entry in Run(folder).trace() if "masks" in entry]
    assert noted["density"].keys() == {"private.1.weight", "private.2.weight"}
    assert 0 < noted["density"]["private.1.weight"] < 1
    assert f"persona masks of {noted['personas']} personas" in told
    steps = [entry["step"] for entry in Run(folder).trace() if "loss" in entry]
    assert steps == [1, 2, 3, 4]


def test_a_mask_may_be_found_from_more_dialogues_than_an_episode_has(corpus: Path, tmp_path: Path) -> None:
    masks, by = {}, ("method.prune_by=change", "method.threshold=quantile", "method.gamma=0.05")
    for dialogues in (0, 1, 99):
        run = tmp_path / str(dialogues)
        train(cmaml(corpus, f"method.mask_dialogues={dialogues}", "outer.steps=1", *by), run)
        tensors_of_run = tensors.load(run / "masks.safetensors", header_limit=1 << 20)
        masks[dialogues] = tensors_of_run["private.1.weight"]
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[99])


def test_c6_a_network_as_it_is_initialised_draws_a_warning(corpus: Path, tmp_path: Path) -> None:
    said = train(cmaml(corpus, "method.gamma=10", "outer.steps=1"), tmp_path / "run")
    warnings = [line for line in said if line.startswith("warning: ")]
    assert [line for line in warnings if "private.1.weight keeps 0.0% of its edges" in line]
    assert [line for line in warnings if "nearly the same for all personas" in line]


def test_a_stopped_run_reads_its_structures_and_goes_on_to_the_same_bits(
    corpus: Path, whole: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, _ = whole
    with pytest.raises(Stopped):
        train(cmaml(corpus), tmp_path / "run", stopping(2))
    again = train(cmaml(corpus), tmp_path / "run")
    assert not [line for line in again if "masks" in line], "neither found nor told a second time"
    assert ended(tmp_path / "run") == ended(folder)
    hashes = [tensors.content_sha256(tensors.load(Run(f).masks)) for f in (folder, tmp_path / "run")]
    assert hashes[0] == hashes[1]


def test_a_run_stopped_while_it_finds_structures_goes_on_finding(
    corpus: Path, whole: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, asked = Cmaml.find_mask, []

    def finding(self: Cmaml, model: Any, support: Any) -> Any:
        asked.append(support)
        if len(asked) == 3:
            signal.raise_signal(signal.SIGTERM)
        return find(self, model, support)

    monkeypatch.setattr(Cmaml, "find_mask", finding)
    with pytest.raises(Stopped, match="stopped after 3 persona masks, saved"):
        train(cmaml(corpus), tmp_path / "run")
    assert status(tmp_path / "run") == {"state": "interrupted", "step": 0}
    said = train(cmaml(corpus), tmp_path / "run")
    (noted,) = [entry["masks"] for entry in Run(tmp_path / "run").trace() if "masks" in entry]
    assert len(asked) == noted["personas"]
    assert f"found the persona masks of {len(asked)} of {len(asked)} training personas" in said
    assert ended(tmp_path / "run") == ended(whole[0])


def test_structures_that_are_gone_or_another_s_are_not_found_anew_with_later_weights(
    corpus: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path / "run")
    with pytest.raises(Stopped):
        train(cmaml(corpus), run.folder, stopping(2))
    kept = run.masks.read_bytes()
    given = prepare(cmaml(corpus))
    found = run_structures.read(run, given.loaded.model)
    run_structures.write(run, dict(list(found.items())[:1]))
    with pytest.raises(DataError, match="no persona mask of .* training personas.*--fresh"):
        train(cmaml(corpus), run.folder)
    run.masks.unlink()
    with pytest.raises(DataError, match="no persona mask of .* training personas.*--fresh"):
        train(cmaml(corpus), run.folder)
    run.masks.write_bytes(kept)
    train(cmaml(corpus), run.folder)


def test_the_structures_are_those_of_the_weights_it_began_with(corpus: Path, whole: tuple[Path, list[str]]) -> None:
    config, run = cmaml(corpus), Run(whole[0])
    given = prepare(config)
    tasks = [t for t in given.tasks("train") if len(t.dialogues) >= 3]
    found = run_structures.read(run, given.loaded.model)
    assert found.keys() == {task.persona_id for task in tasks}
    for task in tasks[:3]:
        wanted = config.method.find_mask(given.loaded.model, task.dialogues[:2])  # type: ignore[union-attr]
        for ours, theirs in zip(wanted.layers, found[task.persona_id].layers, strict=True):
            assert torch.equal(ours.edges(), theirs.edges())


def test_a_step_leaves_alone_what_none_of_its_tasks_has(corpus: Path, tmp_path: Path) -> None:
    config = cmaml(corpus, "outer.meta_batch_size=1", "outer.steps=3", "outer.weight_decay=0.1")
    seen: list[tuple[Any, ...]] = []
    before: dict[str, torch.Tensor] = {}

    def after(step: int, training: Training) -> None:
        now = {name: value.detach().clone() for name, value in training.weights.items()}
        if before:
            moves = training._moves(step - 1)
            seen.extend((there, now[name] != before[name]) for name, there in moves.items())
        before.update(now)

    train(config, tmp_path / "run", after)
    assert seen
    for there, moved in seen:
        assert not (moved & ~there).any()
    assert sum(int(moved.sum()) for _, moved in seen) > 10
    assert any((~there).any() for there, _ in seen)


def test_several_ranks_are_refused(corpus: Path, tmp_path: Path) -> None:
    given = prepare(cmaml(corpus))
    with pytest.raises(ConfigError, match="cmaml pools the tasks of a step, which 2 ranks would split"):
        Training(
            Run(tmp_path),
            cmaml(corpus),
            given.loaded.model,
            given.tasks("train"),
            [],
            None,
            ranks=Alone(0, 2),  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(
    "more",
    [
        ("method.order=exact",),
        ("method.preset=repo",),
        ("method.threshold=quantile", "method.keep_share=0.3", "method.gamma=0.05"),
    ],
)
def test_each_way_of_it_trains(corpus: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    train(cmaml(corpus, "outer.steps=2", *more), tmp_path / "run")
    assert ended(tmp_path / "run")["status"]["state"] == "done"
