"""Acceptance checks A1 to A6: meta-gradients (specs, section 17); the 72 outer steps are training's own test."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest
import torch
from counts import count
from made_up import QUERY, SUPPORT, VARIANTS, Toy, assert_same_bits, snapshot
from torch import Tensor, nn
from toys import NET_EPISODE, QUADRATIC_EPISODE, Quadratic, TanhNet, flat, gradient, points, slope

from menura.adaptation.catalogue import METHODS
from menura.adaptation.inner_loop import InnerLoop, run_inner_loop
from menura.adaptation.maml import Maml
from menura.adaptation.weights import adaptable_parameters, loss_with, swapped_weights
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.decoding.generate import generate
from menura.decoding.sampling import Nucleus
from menura.models.dialogue_model import DialogueModel

# A1


@pytest.mark.parametrize(
    ("steps", "adapted", "query_loss", "first", "exact"),
    [(1, 0.2, 2.16, 3.6, 2.88), (5, 0.67232, 4.1949812736, 5.01696, 1.6439574528)],
)
def test_a1_the_quadratic_gives_all_printed_digits(
    steps: int, adapted: float, query_loss: float, first: float, exact: float
) -> None:
    inner = InnerLoop(lr=0.1, epochs=steps)
    model = Quadratic()
    end = run_inner_loop(model, adaptable_parameters(model), QUADRATIC_EPISODE.support, inner)
    assert float(end["theta"].detach()) == pytest.approx(adapted, abs=1e-13)
    for method, wanted in (
        (Maml(inner), first),
        (Maml(inner, order="exact"), exact),
        (Maml(inner, order="exact", recompute=True), exact),
    ):
        loss = method.objective(model, QUADRATIC_EPISODE)
        assert float(loss.total.detach()) == pytest.approx(query_loss, abs=1e-13)
        assert float(gradient(model, loss.total)["theta"]) == pytest.approx(wanted, abs=1e-13)


# A2


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("hold", [0.0, 0.3])
@pytest.mark.parametrize("recursion", [False, True])
def test_a2_the_exact_meta_gradient_of_a_tanh_net_is_the_central_difference(
    optimizer: str, hold: float, recursion: bool
) -> None:
    model = TanhNet()
    inner = InnerLoop(lr=0.1 if optimizer == "sgd" else 0.02, epochs=5, batch_size=4, optimizer=optimizer)  # type: ignore[arg-type]
    method = Maml(inner, order="exact", unadapted_loss_weight=hold, recompute=recursion)
    ours = flat(gradient(model, method.objective(model, NET_EPISODE).total))
    every = count(full_count=1, quick_count=6)
    units = torch.eye(len(ours), dtype=torch.float64)[::every]
    measured = torch.tensor([slope(model, lambda: method.objective(model, NET_EPISODE).total, u, 1e-5) for u in units])
    assert float((ours[::every] - measured).norm() / measured.norm()) < 1e-7


EXACT = {
    "gpt2-houlsby": InnerLoop(lr=0.3, epochs=2, batch_size=2),
    "gpt2-upper": InnerLoop(lr=0.3, epochs=2, batch_size=2),
    "gpt2-lora": InnerLoop(lr=0.3, epochs=2, batch_size=2),
    "gpt2-in-place": InnerLoop(lr=0.02, epochs=2, batch_size=2),
    "houlsby-upper": InnerLoop(lr=0.3, epochs=2, batch_size=2),
    "special": InnerLoop(lr=0.1, epochs=2, batch_size=2),
    "seq2seq": InnerLoop(lr=0.3, epochs=2, batch_size=2),
    "seq2spg": InnerLoop(lr=0.3, epochs=2, batch_size=2),
}


NUMBERS = count(full_count=3, quick_count=1)


@pytest.mark.parametrize("name", EXACT)
def test_a2_the_exact_meta_gradient_of_a_model_that_speaks_is_the_central_difference(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    model, episode = toy.model, EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))
    exact, first = Maml(EXACT[name], order="exact"), Maml(EXACT[name], order="first")
    ours = flat(gradient(model, exact.objective(model, episode).total))
    stream = torch.Generator().manual_seed(1)
    directions = [torch.randn(len(ours), generator=stream, dtype=torch.float64) for _ in range(NUMBERS)]
    units = nn.functional.one_hot(ours.abs().topk(NUMBERS + 1).indices, len(ours)).double()
    for direction in [*(d / d.norm() for d in directions), *units]:
        measured = slope(model, lambda: first.objective(model, episode).total.detach(), direction, 1e-5)
        assert float(ours @ direction) == pytest.approx(measured, rel=1e-5)
    shortened = flat(gradient(model, first.objective(model, episode).total))
    assert float((ours - shortened).norm() / ours.norm()) > 1e-2, "the second order must matter for this to be a test"


# A3


@pytest.mark.parametrize("name", ["tanh", "gpt2-houlsby", "gpt2-in-place", "lora-upper"])
def test_a3_first_order_with_one_step_is_the_gradient_at_the_adapted_weights(name: str) -> None:
    model, episode = model_and_episode(name)
    inner = InnerLoop(lr=0.1, batch_size=0)
    ours = gradient(model, Maml(inner).objective(model, episode).total)
    adapted = run_inner_loop(model, adaptable_parameters(model), episode.support, inner)
    leaves = {key: value.detach().clone().requires_grad_() for key, value in adapted.items()}
    query = model.batch(tuple(chain.from_iterable(episode.query)))
    plain = torch.autograd.grad(loss_with(model, leaves, query).total, list(leaves.values()))
    assert float((flat(ours) - torch.cat([g.reshape(-1) for g in plain])).abs().max()) < 1e-12


@pytest.mark.parametrize("name", ["tanh", "gpt2-houlsby", "in-place"])
def test_a3_the_direction_of_reptile_is_where_it_starts_minus_where_it_ends(name: str) -> None:
    model, episode = model_and_episode(name)
    method = Maml(InnerLoop(lr=0.1, epochs=3, batch_size=4), order="reptile")
    ours = gradient(model, method.objective(model, episode).total)
    end = method.adapt(model, episode.support + episode.query)
    wanted = {key: value.detach() - end[key] for key, value in adaptable_parameters(model).items()}
    assert float(flat(wanted).abs().max()) > 1e-3
    assert float((flat(ours) - flat(wanted)).abs().max()) < 1e-12


def model_and_episode(name: str) -> tuple[DialogueModel[Any], EncodedEpisode]:
    """Return a model in float64 and an episode for it."""
    if name == "tanh":
        return TanhNet(), NET_EPISODE
    toy = VARIANTS[name].toy(double=True)
    return toy.model, EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))


# A4


def uses(toy: Toy) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield every way to use a model that must leave it alone."""
    episode = EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))
    model, batch = toy.model, toy.batch(QUERY)
    inner = InnerLoop(lr=0.2, epochs=2)
    for key, kind in METHODS.items():
        method = kind() if key == "pretrain-only" else kind(inner)  # type: ignore[call-arg]
        yield f"{key} adapts", lambda method=method: method.adapt(model, episode.support)
        yield f"{key}'s objective", lambda method=method: method.objective(model, episode).total
    for method in (
        Maml(inner, order="exact", unadapted_loss_weight=0.5),
        Maml(inner, order="exact", recompute=True, multi_step=1.0),
        Maml(inner, order="reptile"),
    ):
        yield f"{method}", lambda method=method: gradient(model, method.objective(model, episode, 0.5).total)
    weights = {key: value.detach() + 1 for key, value in adaptable_parameters(model).items()}

    def held() -> None:
        with swapped_weights(model, weights):
            model.loss(batch)

    yield "holding", held
    yield "loss beside", lambda: loss_with(model, weights, batch)
    yield "scoring", lambda: model.reply_nll(batch)
    yield (
        "decoding",
        lambda: generate(model, batch, Nucleus(), end=toy.end, max_new_tokens=5, seeds=range(len(batch))),
    )


@pytest.mark.parametrize("name", ["houlsby", "lora-upper", "in-place", "special", "train-base", "gpt2-houlsby"])
def test_a4_no_use_changes_a_bit_of_the_model_or_of_the_random_stream(name: str) -> None:
    toy = VARIANTS[name].toy()
    before = snapshot(toy.model)
    for what, use in uses(toy):
        use()
        assert_same_bits(toy.model, before, what)


def test_a4_holding_puts_the_weights_back_after_an_error() -> None:
    model = VARIANTS["in-place"].toy().model
    before = snapshot(model)
    with (
        pytest.raises(ZeroDivisionError),
        swapped_weights(model, {k: v.detach() * 2 for k, v in adaptable_parameters(model).items()}),
    ):
        _ = 1 / 0
    assert_same_bits(model, before)


# A5


@pytest.mark.parametrize("support", [1, 15, 16, 17, 33])
@pytest.mark.parametrize("epochs", [1, 3])
def test_a5_inner_steps_are_epochs_times_the_batches_of_sixteen(support: int, epochs: int) -> None:
    seen: list[tuple[int, int]] = []
    dialogues = (points("s", support - support // 2, 1), points("t", support // 2, 2))
    model = TanhNet()
    run_inner_loop(
        model,
        adaptable_parameters(model),
        dialogues,
        InnerLoop(epochs=epochs),
        on_step=lambda done, steps, loss: seen.append((done, steps)),
    )
    steps = epochs * math.ceil(support / 16)
    assert seen == [(done, steps) for done in range(1, steps + 1)]


# A6


@pytest.mark.parametrize("name", ["tanh", "gpt2-houlsby", "lora"])
@pytest.mark.parametrize("order", ["exact", "first"])
def test_a6_gradients_added_up_task_by_task_are_those_of_the_mean(name: str, order: str) -> None:
    model, episode = model_and_episode(name)
    episodes = [
        episode,
        replace(episode, support=episode.support[:1]),
        replace(episode, support=(episode.support[0][:1],), query=episode.support[:1]),
    ]
    assert len({sum(len(dialogue) for dialogue in e.support) for e in episodes}) > 1
    method = Maml(InnerLoop(lr=0.1, epochs=2, batch_size=2), order=order)  # type: ignore[arg-type]
    together = gradient(model, torch.stack([method.objective(model, e).total for e in episodes]).mean())
    for each in episodes:
        (method.objective(model, each).total / len(episodes)).backward()
    accumulated = {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
    assert accumulated.keys() == together.keys()
    assert float((flat(accumulated) - flat(together)).abs().max()) < 1e-10


@pytest.mark.parametrize("order", ["exact", "first"])
def test_a6_the_loop_over_tasks_is_vmap_over_padded_tasks(order: str) -> None:
    """The engine loops, which is quicker on a CPU; torch.func's vmap over supports padded to one size is the peer."""
    model, inner, sizes = TanhNet(), InnerLoop(lr=0.1, epochs=2, batch_size=0), (3, 5, 4)
    episodes = [
        EncodedEpisode(f"p{n}", (points(f"s{n}", size, 2 * n),), (points(f"q{n}", 4, 2 * n + 1),))
        for n, size in enumerate(sizes)
    ]
    looped = [Maml(inner, order=order).objective(model, e).total for e in episodes]  # type: ignore[arg-type]
    ours = gradient(model, torch.stack(looped).mean())

    def stacked(dialogues: list[EncodedDialogue]) -> tuple[Tensor, Tensor, Tensor]:
        longest = max(map(len, dialogues))
        inputs, wanted = torch.zeros(len(dialogues), longest, 3).double(), torch.zeros(len(dialogues), longest).double()
        real = torch.zeros(len(dialogues), longest).double()
        for row, dialogue in enumerate(dialogues):
            for place, e in enumerate(dialogue):
                inputs[row, place] = torch.tensor(e.context).double() / 10
                wanted[row, place], real[row, place] = e.reply[0] / 10, 1.0
        return inputs, wanted, real

    def loss(weights: dict[str, Tensor], inputs: Tensor, wanted: Tensor, real: Tensor) -> Tensor:
        made = torch.func.functional_call(model.network, weights, (inputs,))[:, 0]
        return ((made - wanted) ** 2 * real).sum() / real.sum()

    def adapted_loss(weights: dict[str, Tensor], support: tuple[Tensor, ...], query: tuple[Tensor, ...]) -> Tensor:
        for _ in range(inner.epochs):
            slopes = torch.func.grad(loss)(weights, *support)
            steps = {name: s if order == "exact" else s.detach() for name, s in slopes.items()}
            weights = {name: weights[name] - inner.lr * steps[name] for name in weights}
        return loss(weights, *query)

    support, query = stacked([e.support[0] for e in episodes]), stacked([e.query[0] for e in episodes])
    start = {name: value.detach() for name, value in model.network.named_parameters()}
    side_by_side = torch.func.vmap(torch.func.grad(adapted_loss), in_dims=(None, 0, 0))(start, support, query)
    theirs = {f"network.{name}": value.mean(0) for name, value in side_by_side.items()}
    assert ours.keys() == theirs.keys()
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in ours) < 1e-10
