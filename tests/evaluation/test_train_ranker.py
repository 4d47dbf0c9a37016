"""A run's ranker: learnt from its training split, kept beside its weights, and there to rank by."""

import json
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_chat import settings, write
from torch import Tensor

from menura.artefacts import tensors
from menura.cli.main import run
from menura.errors import ConfigError, DataError, MismatchError
from menura.evaluation import train_ranker
from menura.evaluation.ranker import load_ranker, rank_by, scores
from menura.evaluation.run import config_of
from menura.evaluation.train_ranker import Examples, RankerConfig, fit_ranker, fitted
from menura.models.layers.ranker import Ranker, listwise, pairwise
from menura.models.plato.model import Plato
from menura.training.run_setup import Prepared, prepare

QUICK = RankerConfig(exchanges=10, epochs=3, max_new_tokens=4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run of few steps, with latents."""
    return _trained(tmp_path_factory.mktemp("ranked"), "plato/finetune-avsd")


def _trained(folder: Path, recipe: str) -> Path:
    corpus = write(folder / "chat.jsonl")
    sets = settings(corpus, "outer.steps=2", "outer.eval_every=2", "outer.shots=0", "data.min_heldout_dialogues=1")
    assert run(["train", recipe, "--size", "tiny", "--out", str(folder / "run"), *sets]) == 0
    return folder / "run"


@pytest.fixture
def folder(trained: Path) -> Path:
    for path in trained.glob("ranker*"):
        path.unlink()
    return trained


def prepared_of(folder: Path) -> tuple[Prepared, Plato]:
    found = prepare(config_of(str(folder)))
    assert isinstance(found.loaded.model, Plato)
    return found, found.loaded.model


# What it lowers


def test_listwise_is_the_cross_entropy_between_two_choices() -> None:
    found, worths = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[2.0, 1.0, 0.0]])
    wanted = (worths / 0.5).softmax(1)
    assert listwise(found, worths, 0.5).item() == pytest.approx(float(-(wanted * found.log_softmax(1)).sum()))
    # Scores that differ as the worths do, over the temperature, are the best there are.
    assert listwise(worths / 0.5, worths, 0.5) < listwise(worths, worths, 0.5)


def test_pairwise_counts_pairs_by_how_much_better_one_is() -> None:
    found, worths = torch.tensor([[1.0, 0.0, 3.0]]), torch.tensor([[2.0, 2.0, 0.0]])

    def wrong(by: float) -> float:
        return float(torch.nn.functional.softplus(torch.tensor(-by)))

    assert pairwise(found, worths).item() == pytest.approx((2 * wrong(1.0 - 3.0) + 2 * wrong(0.0 - 3.0)) / 4)
    assert pairwise(found, torch.ones((1, 3))).item() == 0, "where all are worth the same nothing is to be learnt"


@pytest.mark.parametrize("loss", ["listwise", "pairwise"])
def test_it_learns_what_the_worths_depend_on_and_says_what_that_is_worth(loss: str) -> None:
    stream = torch.Generator().manual_seed(0)
    states = torch.randn((60, 6, 8), generator=stream)
    worths = (states[..., 3] * 2).sigmoid()
    made = Examples(states, worths, torch.randn((60, 6), generator=stream))
    ranker, told = fitted(made, RankerConfig(loss=loss, lr=0.02, epochs=40))  # type: ignore[arg-type]
    mean, ours, best = (float(told[name]) for name in ("mean", "ranker", "best"))
    assert mean < float(told["selection"]) + 0.1 < ours
    assert ours > best - 0.06
    assert int(ranker.out.weight.abs().argmax()) == 3


# In a run's folder


def test_it_is_written_whole_beside_the_weights_with_what_it_fits(folder: Path) -> None:
    said: list[str] = []
    path = fit_ranker(folder, QUICK, say=said.append)
    assert path == folder / "ranker.safetensors"
    assert not (folder / train_ranker.EXAMPLES).exists()
    prepared, model = prepared_of(folder)
    about = tensors.metadata(path)
    assert about["model_sha256"] == prepared.loaded.init_sha256
    assert json.loads(about["settings"]) == asdict(QUICK)
    assert float(about["mean"]) <= float(about["best"])
    ranker = load_ranker(folder, prepared.loaded.init_sha256)
    assert ranker.out.weight.shape == (1, 32)
    assert "fitted already" in _last(lambda say: fit_ranker(folder, QUICK, say=say))


def _last(call: Any) -> str:
    said: list[str] = []
    call(said.append)
    return said[-1]


def test_only_training_exchanges_are_learnt_from_and_fewer_are_among_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    real = train_ranker._examples

    def watched(model: Plato, exchanges: Any, *rest: Any) -> Any:
        seen.extend(exchanges)
        return real(model, exchanges, *rest)

    monkeypatch.setattr(train_ranker, "_examples", watched)
    fit_ranker(folder, QUICK, say=lambda line: None)
    few = {e.ids for e in seen}
    prepared, _ = prepared_of(folder)
    train = {e.ids for task in prepared.tasks("train") for e in chain.from_iterable(task.dialogues)}
    assert len(seen) == QUICK.exchanges
    assert few <= train
    seen.clear()
    fit_ranker(folder, replace(QUICK, exchanges=13), fresh=True, say=lambda line: None)
    assert few < {e.ids for e in seen}


def test_stopped_it_goes_on_to_the_same_ranker(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tensors.load(fit_ranker(folder, QUICK, say=lambda line: None))
    (folder / train_ranker.FILE).unlink()
    real, calls = train_ranker._examples, 0

    def failing(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RuntimeError("the power went")
        return real(*given)

    monkeypatch.setattr(train_ranker, "SAVE_EVERY", 4)
    monkeypatch.setattr(train_ranker, "_examples", failing)
    with pytest.raises(RuntimeError, match="the power went"):
        fit_ranker(folder, QUICK, say=lambda line: None)
    assert not (folder / train_ranker.FILE).exists()
    found = tensors.load(fit_ranker(folder, QUICK, say=lambda line: None))
    assert calls == 4, "two of the three pieces were kept"
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_another_fitting_is_not_written_over(folder: Path) -> None:
    fit_ranker(folder, QUICK, say=lambda line: None)
    with pytest.raises(DataError, match="fitted with another settings"):
        fit_ranker(folder, replace(QUICK, epochs=4), say=lambda line: None)
    fit_ranker(folder, replace(QUICK, epochs=4), fresh=True, say=lambda line: None)


def test_a_ranker_of_other_weights_is_refused(folder: Path) -> None:
    fit_ranker(folder, QUICK, say=lambda line: None)
    with pytest.raises(MismatchError, match="was fitted to weights"):
        load_ranker(folder, "0" * 64)


def test_a_model_without_latents_has_nothing_to_rank(tmp_path: Path) -> None:
    folder = _trained(tmp_path, "plato/finetune-avsd-without")
    with pytest.raises(ConfigError, match="this model has no latents"):
        fit_ranker(folder, QUICK)


def test_scores_are_one_by_one_what_they_are_together_and_what_decoding_ranks_by(folder: Path) -> None:
    prepared, model = prepared_of(folder)
    exchanges = list(chain.from_iterable(prepared.tasks("train")[0].dialogues))[:2]
    ranker = Ranker(32)
    torch.nn.init.normal_(ranker.out.weight, generator=torch.Generator().manual_seed(2))
    replies = [exchange.reply for exchange in exchanges]
    together: Tensor = scores(model, ranker, exchanges, replies)
    alone = [scores(model, ranker, [e], [reply])[0] for e, reply in zip(exchanges, replies, strict=True)]
    assert together.tolist() == pytest.approx([float(score) for score in alone], abs=1e-5)
    assert torch.equal(rank_by(model, ranker)(model.batch(exchanges)), together)
    assert len(set(together.tolist())) == len(exchanges)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"exchanges": 1}, "ranker.exchanges: 1"),
        ({"temperature": 0.0}, "ranker.temperature: 0.0"),
        ({"validation_share": 1.0}, "ranker.validation_share: 1.0"),
        ({"epochs": 0}, "ranker.epochs: 0"),
    ],
)
def test_settings_that_teach_nothing_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RankerConfig(**given)
