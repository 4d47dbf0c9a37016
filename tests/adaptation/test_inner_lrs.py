"""Learnt inner rates: what holds them, what uses them, what never contains them."""

import math

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Toy
from toys import NET_EPISODE, TanhNet

from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.inner_step import (
    LOGARITHM,
    InnerLearningRates,
    attach_inner_lrs,
    inner_lrs_of,
    restore_inner_lrs,
)
from menura.adaptation.maml import Maml
from menura.adaptation.weights import adaptable_parameters, outer_groups, swapped_weights, trainable_parameters
from menura.batches.encode import EncodedEpisode
from menura.errors import ConfigError

INNER = InnerLoop(lr=0.1, epochs=2, batch_size=4)


def with_rates(model: TanhNet, rate: float = 0.1, rows: int = 1) -> InnerLearningRates:
    attach_inner_lrs(model, rate, rows)
    found = inner_lrs_of(model)
    assert found is not None
    return found


def test_rates_begin_at_the_inner_rate_and_adapt_as_it_does() -> None:
    bare, model = TanhNet(), TanhNet()
    rates = with_rates(model, rows=2)
    for step in range(3):
        assert torch.allclose(rates.of_step(step, tuple(adaptable_parameters(model))), torch.tensor(0.1).double())
    ours, wanted = (Maml(INNER).adapt(made, NET_EPISODE.support) for made in (model, bare))
    assert ours.keys() == wanted.keys()
    assert all(torch.allclose(ours[name], wanted[name], rtol=1e-14) for name in wanted)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("method", [Maml, Finetune])
def test_each_tensor_and_each_step_goes_at_its_own_rate(method: type, optimizer: str) -> None:
    inner = InnerLoop(lr=0.5, epochs=1, batch_size=4, optimizer=optimizer)  # type: ignore[arg-type]  # two steps
    model = TanhNet()
    rates = with_rates(model, rows=2)
    still = math.log(1e-30)
    with torch.no_grad():
        rates.logarithm.fill_(still)
        rates.logarithm[1, rates.column["network.2.bias"]] = math.log(0.2)
    moved = method(inner).adapt(model, NET_EPISODE.support)
    changed = {
        name for name, value in adaptable_parameters(model).items() if not torch.allclose(moved[name], value, atol=1e-9)
    }
    assert changed == {"network.2.bias"}
    once = method(InnerLoop(lr=0.5, epochs=1, batch_size=0, optimizer=optimizer)).adapt(model, NET_EPISODE.support)  # type: ignore[arg-type]
    assert torch.allclose(once["network.2.bias"], adaptable_parameters(model)["network.2.bias"], atol=1e-9), (
        "row 0 stands still"
    )


def test_a_persona_never_contains_the_rates_and_the_outer_loop_moves_them() -> None:
    toy = VARIANTS["lora-upper"].toy()
    before = set(adaptable_parameters(toy.model))
    Maml(INNER, lr_mode="layer").attach(toy.model)
    assert set(adaptable_parameters(toy.model)) == before
    assert set(trainable_parameters(toy.model)) == before | {LOGARITHM}
    weights = Maml(INNER, lr_mode="layer").adapt(toy.model, toy.dialogues(SUPPORT))
    assert set(weights) == before
    with swapped_weights(toy.model, weights):
        pass


def test_weights_decay_and_rates_do_not() -> None:
    model = TanhNet()
    rates = with_rates(model)
    decaying, still = outer_groups(model, 0.1)
    assert (decaying["weight_decay"], still["weight_decay"]) == (0.1, 0.0)
    assert [id(p) for p in still["params"]] == [id(rates.logarithm)]
    assert [id(p) for p in decaying["params"]] == [id(p) for p in adaptable_parameters(model).values()]
    assert [group["weight_decay"] for group in outer_groups(TanhNet(), 0.1)] == [0.1]
    (together,) = outer_groups(model, 0.0)
    assert len(together["params"]) == len(trainable_parameters(model))


@pytest.mark.parametrize("order", ["first", "exact"])
def test_training_lowers_the_query_loss_by_the_rates_alone(order: str) -> None:
    toy: Toy = VARIANTS["houlsby"].toy()
    method = Maml(InnerLoop(lr=0.01, epochs=2, batch_size=0), order=order, lr_mode="layer", lr_steps=2)  # type: ignore[arg-type]
    method.attach(toy.model)
    rates = inner_lrs_of(toy.model)
    assert rates is not None
    outer = torch.optim.Adam([rates.logarithm], lr=0.3)
    episode = EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))
    losses = []
    for _ in range(8):
        outer.zero_grad()
        loss = method.objective(toy.model, episode).total
        loss.backward()
        outer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05
    assert bool((rates.of_step(0, tuple(adaptable_parameters(toy.model))) > 0).all())
    assert len(rates.logarithm.detach().unique()) > rates.logarithm.numel() // 2, "every tensor found its own"


def test_rates_of_a_start_stay_and_are_learnt_further() -> None:
    model = TanhNet()
    restore_inner_lrs(model, {LOGARITHM: torch.zeros(2, 6)})
    rates = inner_lrs_of(model)
    assert rates is not None
    assert rates.logarithm.shape == (2, 6)
    with torch.no_grad():
        rates.logarithm.fill_(-3.0)
    Maml(INNER, lr_mode="layer", lr_steps=2).attach(model)
    assert inner_lrs_of(model) is rates
    assert bool((rates.logarithm == -3.0).all())
    Maml(INNER).attach(model)
    assert inner_lrs_of(model) is rates, "fixed adds none and takes none away"
    with pytest.raises(ConfigError, match="method.lr_steps: 1, but the start has rates for 2"):
        Maml(INNER, lr_mode="layer").attach(model)


def test_a_start_without_rates_brings_none() -> None:
    model = TanhNet()
    restore_inner_lrs(model, {"network.0.weight": torch.zeros(5, 3)})
    assert inner_lrs_of(model) is None
