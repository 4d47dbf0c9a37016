"""Meta-gradients under every option: against central differences, against one another, against what is done by hand."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from counts import count
from made_up import QUERY, SUPPORT, VARIANTS
from torch import Tensor, nn
from toys import NET_EPISODE, NoDecoding, TanhNet, exchange, flat, gradient, slope

from menura.adaptation.inner_loop import InnerLoop, mini_batches, run_inner_loop
from menura.adaptation.inner_step import inner_lrs_of
from menura.adaptation.maml import Maml, multi_step_loss_weight
from menura.adaptation.weights import adaptable_parameters, loss_with, selected_parameters, trainable_parameters
from menura.batches.batch import Batch
from menura.batches.encode import EncodedEpisode
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, Loss, mean_loss

SGD = InnerLoop(lr=0.1, epochs=2, batch_size=4)  # four steps on the net's seven points
ADAM = InnerLoop(lr=0.02, epochs=2, batch_size=4, optimizer="adam")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "multi-step": {"multi_step": 0.5},
    "rates": {"lr_mode": "layer"},
    "rates of steps": {"lr_mode": "layer", "lr_steps": 3},
    "parts": {"trainable": "network.0,4.bias"},
    "all": {
        "multi_step": 0.5,
        "lr_mode": "layer",
        "lr_steps": 2,
        "trainable": "network.0,4.bias",
        "unadapted_loss_weight": 0.2,
    },
}
EVERY = count(full_count=1, quick_count=6)  # of how many numbers one is moved to measure its slope
PROGRESS = 0.2  # of training, while multi-step losses still count


def attached(method: Maml) -> TanhNet:
    """Return a net with what the method trains beside it, its rates moved apart."""
    model = TanhNet()
    method.attach(model)
    rates = inner_lrs_of(model)
    if rates:
        with torch.no_grad():
            rates.logarithm += 0.3 * torch.randn(rates.logarithm.shape, generator=torch.Generator().manual_seed(4))
    return model


def total(model: DialogueModel[Any], method: Maml, episode: EncodedEpisode = NET_EPISODE) -> Tensor:
    return method.objective(model, episode, PROGRESS).total


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("inner", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_exact_gradient_of_every_option_is_the_central_difference(
    options: str, inner: InnerLoop, recompute: bool
) -> None:
    method = Maml(inner, order="exact", recompute=recompute, **OPTIONS[options])
    model = attached(method)
    ours = flat(gradient(model, total(model, method)))
    units = torch.eye(len(ours), dtype=torch.float64)[::EVERY]
    step = 1e-5 if inner is SGD else 1e-6  # Adam bends: where a gradient is small, its direction turns quickly
    measured = torch.tensor([slope(model, lambda: total(model, method), unit, step) for unit in units])
    assert float((ours[::EVERY] - measured).norm() / measured.norm()) < 1e-7
    if "rates" in OPTIONS[options]:
        rates = gradient(model, total(model, method))["rates.logarithm"]
        assert int((rates != 0).sum()) == rates.shape[0] * len(selected_parameters(model, method.trainable))


@pytest.mark.parametrize("name", ["gpt2-houlsby", "gpt2-in-place", "lora-upper", "special"])
@pytest.mark.parametrize(
    ("inner", "double", "near"),
    # Where a gradient is all but zero Adam divides rounding by rounding; single precision would show that.
    [(SGD, True, 1e-12), (SGD, False, 1e-6), (ADAM, True, 1e-10)],
    ids=["sgd-64", "sgd-32", "adam-64"],
)
def test_the_recursion_gives_the_gradient_of_the_kept_graph(
    name: str, inner: InnerLoop, double: bool, near: float
) -> None:
    toy = VARIANTS[name].toy(double=double)
    kept = Maml(replace(inner, batch_size=2, lr=0.02), order="exact", multi_step=0.5, lr_mode="layer")
    kept.attach(toy.model)
    episode = EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))
    losses = [total(toy.model, method, episode) for method in (kept, replace(kept, recompute=True))]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=near)
    ours, wanted = (flat(gradient(toy.model, loss)) for loss in reversed(losses))
    assert float((ours - wanted).norm() / wanted.norm()) < near
    first = flat(gradient(toy.model, total(toy.model, replace(kept, order="first"), episode)))
    assert float((first - wanted).norm() / wanted.norm()) > 1e-3, "the second order must matter for this to be a test"


def test_a_gradient_through_the_recursion_in_bfloat16_is_taken_as_its_forward_was() -> None:
    toy = VARIANTS["gpt2-houlsby"].toy()
    method = Maml(replace(SGD, batch_size=2), order="exact", recompute=True)
    episode = EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))
    with torch.autocast("cpu", torch.bfloat16):
        inside = flat(gradient(toy.model, total(toy.model, method, episode)))
        loss = total(toy.model, method, episode)
    assert torch.equal(flat(gradient(toy.model, loss)), inside)
    assert not torch.equal(flat(gradient(toy.model, total(toy.model, method, episode))), inside)


class Straight(NoDecoding):
    """Support losses are linear, so that their second derivative is zero; the query's is not."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64))
        self.second = nn.Parameter(torch.tensor([0.5], dtype=torch.float64))

    def loss(self, batch: Batch) -> Loss:
        nll = [
            2 * self.first.sum() - self.second.sum()
            if exchange.dialogue_id == "support"
            else ((self.first - 1) ** 2).sum() + (self.second + self.first[0]) ** 3
            for exchange in batch.exchanges
        ]
        return mean_loss(torch.stack([value.reshape(()) for value in nll]), batch.reply_lengths)


@pytest.mark.parametrize("options", ["plain", "multi-step", "rates", "rates of steps"])
def test_first_order_is_exact_where_the_second_derivative_is_zero(options: str) -> None:
    method = Maml(InnerLoop(lr=0.05, epochs=4), **OPTIONS[options])
    model = Straight()
    method.attach(model)
    episode = EncodedEpisode("p", ((exchange("support"),),), ((exchange("query"),),))
    first, *exact = (
        flat(gradient(model, total(model, made, episode)))
        for made in (method, replace(method, order="exact"), replace(method, order="exact", recompute=True))
    )
    assert all(torch.allclose(first, wanted, rtol=1e-13, atol=1e-14) for wanted in exact)
    assert bool((first != 0).all())


def test_first_order_slopes_of_rates_are_minus_query_gradient_times_inner_gradient() -> None:
    inner = InnerLoop(lr=0.1, batch_size=0)
    method = Maml(inner, lr_mode="layer")
    model = attached(method)
    ours = gradient(model, method.objective(model, NET_EPISODE).total)["rates.logarithm"][0]
    support, query = (
        model.batch(tuple(chain.from_iterable(side))) for side in (NET_EPISODE.support, NET_EPISODE.query)
    )
    start = adaptable_parameters(model)
    inwards = gradient_at(model, start, support)
    rates = inner_lrs_of(model)
    assert rates is not None
    by_name = dict(zip(start, rates.logarithm[0].detach().exp(), strict=True))
    there = {name: value.detach() - by_name[name] * inwards[name] for name, value in start.items()}
    outwards = gradient_at(model, there, query)
    wanted = torch.stack([-by_name[name] * (outwards[name] * inwards[name]).sum() for name in start])
    assert torch.allclose(ours, wanted, rtol=1e-12)


def gradient_at(model: DialogueModel[Any], weights: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Return the plain gradient of a batch's loss at weights."""
    leaves = {name: value.detach().clone().requires_grad_() for name, value in weights.items()}
    found = torch.autograd.grad(loss_with(model, leaves, batch).total, list(leaves.values()))
    return dict(zip(leaves, found, strict=True))


def test_the_first_order_multi_step_gradient_is_the_sum_of_those_after_each_step() -> None:
    method, model = Maml(SGD, multi_step=0.5), TanhNet()
    ours = method.objective(model, NET_EPISODE, PROGRESS)
    query = model.batch(NET_EPISODE.query[0])
    batches = mini_batches(model, NET_EPISODE.support, SGD.batch_size) * SGD.epochs
    here: dict[str, Tensor] = dict(adaptable_parameters(model))
    wanted, value = torch.zeros(()), 0.0
    for step, batch in enumerate(batches, start=1):
        here = {name: here[name].detach() - SGD.lr * g for name, g in gradient_at(model, here, batch).items()}
        share = multi_step_loss_weight(step, len(batches), 1 - PROGRESS / 0.5)
        wanted = wanted + share * flat(gradient_at(model, here, query))
        value += share * loss_with(model, here, query).total.item()
    assert ours.total.item() == pytest.approx(value, rel=1e-13)
    assert torch.allclose(flat(gradient(model, ours.total)), wanted, rtol=1e-12)
    assert torch.equal(ours.nll, loss_with(model, here, query).nll)


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_shares_of_the_steps_go_from_all_alike_to_the_last_alone(steps: int) -> None:
    for alike in (0.0, 0.3, 1.0):
        assert sum(multi_step_loss_weight(done, steps, alike) for done in range(steps + 1)) == pytest.approx(1)
    shares = [multi_step_loss_weight(done, steps, 1.0) for done in range(1, steps + 1)]
    assert shares == pytest.approx([1 / steps] * steps)
    assert [multi_step_loss_weight(done, steps, 0.0) for done in range(steps + 1)] == [0.0] * steps + [1.0]
    assert multi_step_loss_weight(0, steps, 1.0) == 0.0


def test_multi_step_losses_count_until_their_share_of_training_is_over() -> None:
    model, plain, multi = TanhNet(), Maml(SGD), Maml(SGD, multi_step=0.5)
    losses = {at: multi.objective(model, NET_EPISODE, at).total.item() for at in (0.0, 0.2, 0.49, 0.5, 1.0)}
    last = plain.objective(model, NET_EPISODE).total.item()
    assert len(set(losses.values())) == 4
    assert losses[0.5] == losses[1.0] == last
    assert multi.objective(model, NET_EPISODE).total.item() == last


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("order", ["first", "exact"])
def test_the_order_turns_exact_at_its_share_of_training(order: str, recompute: bool) -> None:
    model = TanhNet()
    first, exact = (flat(gradient(model, total(model, Maml(SGD, order=kind)))) for kind in ("first", "exact"))  # type: ignore[arg-type]
    method = Maml(SGD, order=order, exact_from=0.4, recompute=recompute)  # type: ignore[arg-type]
    for progress, wanted in ((0.0, first), (0.39, first), (0.4, exact), (1.0, exact)):
        ours = flat(gradient(model, method.objective(model, NET_EPISODE, progress).total))
        assert torch.allclose(ours, wanted, rtol=1e-12, atol=1e-15), progress
    assert not torch.allclose(first, exact, rtol=1e-2)


@pytest.mark.parametrize("order", ["first", "exact"])
def test_the_inner_loop_moves_the_parts_and_the_outer_loop_all(order: str) -> None:
    model, method = TanhNet(), Maml(SGD, order=order, trainable="4.weight , network.0")  # type: ignore[arg-type]
    moved = method.adapt(model, NET_EPISODE.support)
    assert moved.keys() == {"network.4.weight", "network.0.weight", "network.0.bias"}
    found = gradient(model, method.objective(model, NET_EPISODE).total)
    assert found.keys() == trainable_parameters(model).keys()
    assert all(bool(value.any()) for value in found.values())
    query = model.batch(NET_EPISODE.query[0])
    outside = gradient_at(model, {**adaptable_parameters(model), **moved}, query)
    left = [name for name in found if name not in moved]
    assert all(torch.allclose(found[n], outside[n], rtol=1e-12) for n in left) == (order == "first")


def test_parts_that_are_in_no_name_are_refused_with_what_there_is() -> None:
    toy = VARIANTS["lora-upper"].toy()
    with pytest.raises(ConfigError, match="'head'.*there are adapters.2.") as caught:
        Maml(SGD, trainable="adapters.2,head").attach(toy.model)
    assert caught.value.exit_code == 2
    assert len(selected_parameters(toy.model)) == len(adaptable_parameters(toy.model))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"order": "reptile", "unadapted_loss_weight": 0.1}, "unadapted_loss_weight"),
        ({"order": "reptile", "multi_step": 0.1}, "multi_step"),
        ({"order": "reptile", "exact_from": 0.1}, "exact_from"),
        ({"order": "reptile", "lr_mode": "layer"}, "lr_mode"),
        ({"order": "reptile", "recompute": True}, "recompute"),
        ({"recompute": True}, "recompute"),
        ({"lr_steps": 2}, "lr_steps"),
    ],
)
def test_settings_that_come_to_nothing_are_refused_before_training(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=f"method.{told}: .*, but "):
        Maml(SGD, **settings).attach(TanhNet())


@pytest.mark.parametrize("settings", [{"exact_from": 1.5}, {"multi_step": -0.1}, {"lr_steps": 0}])
def test_values_that_are_none_are_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"method.{next(iter(settings))}"):
        Maml(SGD, **settings)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_support_without_dialogues_judges_the_start(recompute: bool) -> None:
    model, episode = TanhNet(), replace(NET_EPISODE, support=())
    for order in ("first", "exact"):
        method = Maml(SGD, order=order, multi_step=0.5, recompute=recompute)  # type: ignore[arg-type]
        found = gradient(model, total(model, method, episode))
        wanted = gradient(model, model.loss(model.batch(episode.query[0])).total)
        assert torch.allclose(flat(found), flat(wanted), rtol=1e-13)


def test_all_orders_walk_to_the_same_weights() -> None:
    model = TanhNet()
    Maml(SGD, lr_mode="layer", lr_steps=2).attach(model)
    ends: list[Tensor] = []
    walk: Callable[..., Any] = run_inner_loop
    for order in ("first", "exact", "recompute"):
        ends.append(flat(walk(model, adaptable_parameters(model), NET_EPISODE.support, ADAM, order=order)).detach())
    assert torch.allclose(ends[0], ends[1], rtol=0, atol=1e-15)
    assert torch.equal(ends[1], ends[2])
    assert not torch.allclose(ends[0], flat(adaptable_parameters(model)).detach(), atol=1e-2)
