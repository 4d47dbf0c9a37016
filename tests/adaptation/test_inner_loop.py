import math
from collections.abc import Mapping

import pytest
import torch
from made_up import QUERY, SUPPORT, VARIANTS, Toy, part
from torch import Tensor, nn
from toys import Quadratic, exchange

from menura.adaptation.inner_loop import InnerLoop, mini_batches, run_inner_loop
from menura.adaptation.maml import Maml
from menura.adaptation.weights import adaptable_parameters, loss_with, swapped_weights
from menura.batches.batch import Batch
from menura.batches.encode import EncodedEpisode
from menura.errors import ConfigError, NumericalError


@pytest.mark.parametrize(
    "settings",
    [{"lr": 0.0}, {"lr": -1.0}, {"epochs": -1}, {"batch_size": -1}, {"distill_weight": -0.1}, {"distill_weight": 1.1}],
)
def test_a_descent_under_which_nothing_could_be_learnt_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"inner.{next(iter(settings))}"):
        InnerLoop(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("hold", [-0.1, 1.1, math.nan])
def test_a_share_that_is_none_is_refused(hold: float) -> None:
    with pytest.raises(ConfigError, match="method.unadapted_loss_weight"):
        Maml(unadapted_loss_weight=hold)


@pytest.mark.parametrize(("size", "sizes"), [(0, [7]), (1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (16, [7])])
def test_mini_batches_cut_the_support_in_order(size: int, sizes: list[int]) -> None:
    toy = VARIANTS["houlsby"].toy()
    lines = [f"line {index}" for index in range(14)]
    support = toy.dialogues([part("d", *lines[:10]), part("e", *lines[10:])])
    batches = mini_batches(toy.model, support, size)
    assert [len(batch) for batch in batches] == sizes
    assert [e for batch in batches for e in batch.exchanges] == [e for dialogue in support for e in dialogue]


@pytest.mark.parametrize("name", ["gpt2-houlsby", "in-place"])
@pytest.mark.parametrize(("optimizer", "peer"), [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)])
def test_a_descent_walks_as_torchs_own_optimizer_does(name: str, optimizer: str, peer: type) -> None:
    toy = VARIANTS[name].toy(double=True)
    inner = InnerLoop(lr=0.01, epochs=3, batch_size=2, optimizer=optimizer)  # type: ignore[arg-type]
    ours = run_inner_loop(toy.model, adaptable_parameters(toy.model), toy.dialogues(SUPPORT), inner)
    outer = peer(list(adaptable_parameters(toy.model).values()), lr=0.01)
    for _ in range(3):
        for batch in mini_batches(toy.model, toy.dialogues(SUPPORT), 2):
            outer.zero_grad()
            toy.model.loss(batch).total.backward()
            outer.step()
    walked = flat(adaptable_parameters(toy.model)).detach()
    apart = (flat(ours).detach() - walked).abs()
    # Adam's epsilon stands within the root here: where a gradient is nearly zero the walks differ by part of a step.
    assert float(apart.max()) < (1e-12 if optimizer == "sgd" else 0.3 * 0.01 * 6)
    assert float(apart.median()) < 1e-6


HELD = ["houlsby", "gpt2-upper", "in-place", "transfer-transfo", "p2-bot", "seq2seq", "speaker", "seq2spg"]


@pytest.mark.parametrize("name", HELD)
def test_anchored_to_itself_alone_a_model_stays_where_it_is(name: str) -> None:
    toy = VARIANTS[name].toy(double=True)
    start = adaptable_parameters(toy.model)
    ended = run_inner_loop(
        toy.model, start, toy.dialogues(SUPPORT), InnerLoop(lr=0.5, epochs=2, batch_size=2, distill_weight=1.0)
    )
    assert float((flat(ended) - flat(start)).detach().abs().max()) < 1e-9


@pytest.mark.parametrize("name", HELD)
def test_half_anchored_the_first_step_is_half_as_long(name: str) -> None:
    """What is expected is what the start says, so at the start it pulls nowhere."""
    toy = VARIANTS[name].toy(double=True)
    start, support = adaptable_parameters(toy.model), toy.dialogues(SUPPORT)
    free, held = (
        run_inner_loop(toy.model, start, support, InnerLoop(0.1, 1, 0, distill_weight=anchor)) for anchor in (0.0, 0.5)
    )
    whole, half = (flat(ended) - flat(start) for ended in (free, held))
    torch.testing.assert_close(half, whole / 2, rtol=1e-9, atol=1e-12)
    assert float(whole.detach().abs().max()) > 1e-3


def logits_of_replies(toy: Toy, batch: Batch) -> Tensor:
    """Return what the model says (tokens, V) at each token of the replies, one exchange after the other."""
    found = []
    for read in batch.exchanges:
        (logits,) = toy.model.logits(torch.tensor([read.ids]))
        found.append(logits[len(read.prefix) - 1 : -1])
    return torch.cat(found)


def test_the_anchored_loss_is_the_cross_entropy_to_a_mixture_of_word_and_expectation() -> None:
    toy = VARIANTS["in-place"].toy(double=True)
    batch = toy.batch(SUPPORT)
    held = toy.model.with_soft_targets(batch, 0.25)
    with torch.no_grad():
        before = logits_of_replies(toy, batch)
        said = torch.tensor([token for exchange in batch.exchanges for token in exchange.reply])
        mixture = 0.25 * before.softmax(-1) + 0.75 * nn.functional.one_hot(said, before.shape[1])
        for parameter in toy.model.parameters():
            parameter += 0.01
        now = logits_of_replies(toy, batch)
        loss = toy.model.loss(held)
    wanted = -(mixture * now.log_softmax(-1)).sum(-1).mean()
    assert float(loss.total) == pytest.approx(float(wanted), rel=1e-12)
    assert torch.equal(loss.nll, toy.model.loss(batch).nll)


def test_an_exact_gradient_through_an_anchored_walk_is_refused() -> None:
    toy = VARIANTS["houlsby"].toy()
    for method in (
        Maml(InnerLoop(distill_weight=0.5), order="exact"),
        Maml(InnerLoop(distill_weight=0.5), exact_from=0.5),
    ):
        with pytest.raises(ConfigError, match="inner.distill_weight takes what the start says as a constant"):
            method.attach(toy.model)
    Maml(InnerLoop(distill_weight=0.5)).attach(toy.model)


def test_a_model_that_cannot_be_held_to_itself_says_so() -> None:
    with pytest.raises(ConfigError, match=r"inner\.distill_weight: Quadratic"):
        run_inner_loop(Quadratic(), {}, ((exchange("support"),),), InnerLoop(distill_weight=0.5))


def flat(tensors: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([value.reshape(-1) for value in tensors.values()])


def test_a_step_whose_loss_is_not_finite_names_the_step_and_its_dialogues() -> None:
    toy = VARIANTS["houlsby"].toy()
    support = toy.dialogues(SUPPORT)
    start = adaptable_parameters(toy.model)
    inner = InnerLoop(lr=1e30, epochs=3, batch_size=2)
    with pytest.raises(NumericalError, match=r"inner step 2: .*s2") as caught:
        run_inner_loop(toy.model, start, support, inner)
    assert caught.value.exit_code == 6
    assert "1e+30" in caught.value.problems[0].hint


def test_no_step_gives_back_what_it_started_from() -> None:
    toy = VARIANTS["houlsby"].toy()
    start = adaptable_parameters(toy.model)
    end = run_inner_loop(toy.model, start, toy.dialogues(SUPPORT), InnerLoop(epochs=0))
    assert all(end[key] is start[key] for key in start)


def test_a_descent_can_start_beside_the_model() -> None:
    toy = VARIANTS["lora"].toy(double=True)
    elsewhere = {key: value.detach() + 0.1 for key, value in adaptable_parameters(toy.model).items()}
    inner = InnerLoop(lr=0.1, epochs=2)
    beside = run_inner_loop(toy.model, elsewhere, toy.dialogues(SUPPORT), inner)
    with swapped_weights(toy.model, elsewhere):
        inside = run_inner_loop(toy.model, adaptable_parameters(toy.model), toy.dialogues(SUPPORT), inner)
    assert all(torch.equal(beside[key], inside[key]) for key in beside)


def test_the_held_share_of_the_start_is_lowered_beside_the_adapted_loss() -> None:
    toy = VARIANTS["houlsby"].toy(double=True)
    episode = EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))
    inner = InnerLoop(lr=0.1, epochs=2)
    adapted, held = (
        Maml(inner).objective(toy.model, episode),
        Maml(inner, unadapted_loss_weight=0.25).objective(toy.model, episode),
    )
    before = toy.model.loss(toy.batch(QUERY)).total
    assert held.total.item() == pytest.approx(0.75 * adapted.total.item() + 0.25 * before.item(), rel=1e-12)
    assert held.parts["un-adapted"].item() == pytest.approx(before.item(), rel=1e-12)
    assert torch.equal(held.nll, adapted.nll)
    whole = Maml(inner, unadapted_loss_weight=1.0).objective(toy.model, episode).total
    ours, wanted = (torch.autograd.grad(v, list(adaptable_parameters(toy.model).values())) for v in (whole, before))
    assert all(torch.allclose(a, b, rtol=1e-10) for a, b in zip(ours, wanted, strict=True))


def test_gradients_of_a_loss_beside_flow_into_the_weights_and_not_into_the_model() -> None:
    toy = VARIANTS["houlsby"].toy()
    weights = {key: value.detach().clone().requires_grad_() for key, value in adaptable_parameters(toy.model).items()}
    loss_with(toy.model, weights, toy.batch(QUERY)).total.backward()
    assert all(weight.grad is not None for weight in weights.values())
    assert all(parameter.grad is None for parameter in toy.model.parameters())


def test_holding_writes_tied_weights_once_and_both_uses_see_them() -> None:
    toy = VARIANTS["in-place"].toy()
    name = next(n for n, p in toy.model.named_parameters() if p is toy.model.network.get_input_embeddings().weight)
    query = toy.batch(QUERY)
    weights = {name: adaptable_parameters(toy.model)[name].detach() * 1.5}
    beside = loss_with(toy.model, weights, query).nll
    with swapped_weights(toy.model, weights):
        assert toy.model.network.get_output_embeddings().weight is toy.model.network.get_input_embeddings().weight
        assert torch.equal(toy.model.loss(query).nll, beside)
    assert not torch.equal(toy.model.loss(query).nll, beside)


def test_holding_a_weight_the_model_does_not_have_changes_nothing() -> None:
    model = VARIANTS["houlsby"].toy().model
    name, first = next(iter(adaptable_parameters(model).items()))
    before = first.detach().clone()
    with pytest.raises(KeyError), swapped_weights(model, {name: before + 1, "nobody": nn.Parameter(torch.zeros(1))}):
        pass
    assert torch.equal(first, before)
