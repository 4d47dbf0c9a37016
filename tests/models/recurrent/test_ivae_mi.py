import math

import pytest
import torch
from made_up import FACTS, QUERY, SUPPORT, VARIANTS, Toy, part
from torch import Tensor, nn

from menura.adaptation.weights import adaptable_parameters
from menura.batches.encode import EncodedExchange
from menura.errors import ConfigError
from menura.models.recurrent.ivae_mi import STRAIGHT, Critic, IvaeMi, IvaeMiConfig, dual

PARTS = ("decoder", "forwards", "backwards", "context", "prior", "posterior", "critic", "bridge")


def exchanges_of(toy: Toy) -> list[EncodedExchange]:
    long = part("long", "one", "two", "three", "four", facts=FACTS)
    return [exchange for dialogue in toy.dialogues((*SUPPORT, *QUERY, long)) for exchange in dialogue]


def reached(toy: Toy, loss: Tensor) -> set[str]:
    """Return the networks that a loss has a gradient for, each of them whole."""
    weights = adaptable_parameters(toy.model)
    gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    there = {
        name: gradient is not None and bool(gradient.any()) for name, gradient in zip(weights, gradients, strict=True)
    }
    found = {part for part in PARTS if any(hit for name, hit in there.items() if name.startswith(f"{part}."))}
    # A decoder that is trained learns all of its weights; a table of words serves the encoders, too.
    assert all(there[name] for name in there if name.partition(".")[0] in found - {"decoder"})
    return found


def test_each_turns_gradient_reaches_its_own_networks_whole_and_no_other() -> None:
    toy = VARIANTS["ivae-mi"].toy(double=True)
    batch = toy.model.batch(exchanges_of(toy))
    told = {"decoder", "forwards", "backwards", "context", "posterior", "bridge"}
    assert reached(toy, toy.model.reconstruction(batch, 1).total) == told
    assert reached(toy, toy.model.adversarial_loss("generator", batch, 1).total) == {"prior", "posterior"}
    assert reached(toy, toy.model.adversarial_loss("critic", batch, 1).total) == {"critic"}
    assert reached(toy, toy.model.loss(batch).total) == {
        "decoder",
        "forwards",
        "backwards",
        "context",
        "prior",
        "bridge",
    }


def test_generators_lower_what_the_critic_raises() -> None:
    toy = VARIANTS["ivae-mi"].toy(double=True)
    batch = toy.model.batch(exchanges_of(toy))
    ours, theirs = (toy.model.adversarial_loss(turn, batch, 4) for turn in ("generator", "critic"))
    assert ours.total.item() == pytest.approx(-theirs.total.item(), rel=1e-12)
    assert ours.total.item() == pytest.approx(ours.nll.sum().item() / batch.reply_lengths.sum().item(), rel=1e-12)
    assert ours.total.item() != toy.model.adversarial_loss("generator", batch, 5).total.item(), (
        "another seed, other noise"
    )


def test_what_is_drawn_for_an_exchange_does_not_depend_on_its_batch_mates() -> None:
    toy = VARIANTS["ivae-mi"].toy(double=True)
    rows = exchanges_of(toy)
    together = toy.model.reconstruction(toy.model.batch(rows), 3).nll
    alone = torch.cat([toy.model.reconstruction(toy.model.batch([row]), 3).nll for row in rows])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=0)


def test_a_reply_is_judged_by_the_mean_over_samples_of_the_prior() -> None:
    toy = VARIANTS["ivae-mi"].toy(double=True)
    model, rows = toy.model, exchanges_of(toy)
    batch = model.batch(rows)
    with torch.no_grad():
        state = model.prefill(batch)
        chances = torch.zeros(len(rows), dtype=torch.float64)
        for sample in range(3):
            one = state.decoders.rows(torch.arange(len(rows)) * 3 + sample)
            chances += model.decoder.nll(one, batch).neg().exp() / 3
        assert model.loss(batch).nll.tolist() == pytest.approx((-chances.log()).tolist(), rel=1e-10)
    spread = state.decoders.hidden.view(len(rows), 3, -1).std(1)
    assert float(spread.min()) > 0, "samples differ"


def test_a_posterior_that_reads_the_reply_tells_it_from_others() -> None:
    toy = VARIANTS["ivae-mi"].toy(double=True)
    rows = exchanges_of(toy)[:1]
    model = toy.model
    with torch.no_grad():
        both = [model._with_reply(model.batch([row]), torch.zeros(1, 6).double()) for row in (*rows, *changed(rows))]
    assert not torch.equal(both[0], both[1])


def changed(rows: list[EncodedExchange]) -> list[EncodedExchange]:
    return [EncodedExchange("mira", "x", row.facts, row.context, (70, *row.reply), row.turns) for row in rows]


def test_a_critic_that_learns_finds_the_divergence_of_two_gaussians() -> None:
    """KL(N(1, 1) || N(0, 1)) is 1/2 of a nat; no critic tells more, but for the noise of its samples."""
    stream = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    critic = Critic(2, 32)
    optimizer = torch.optim.Adam(critic.parameters(), lr=3e-3)
    context = torch.zeros(512, 1)
    for _ in range(300):
        drawn, prior_sample = (torch.randn(512, 1, generator=stream) + mean for mean in (1.0, 0.0))
        optimizer.zero_grad()
        (-dual(critic(drawn, context), critic(prior_sample, context)).mean()).backward()
        optimizer.step()
    many = torch.zeros(200_000, 1)
    with torch.no_grad():
        drawn, prior_sample = (torch.randn(200_000, 1, generator=stream) + mean for mean in (1.0, 0.0))
        found = dual(critic(drawn, many), critic(prior_sample, many)).mean().item()
    assert 0.45 < found < 0.52


def test_the_dual_is_the_divergence_where_the_critic_is_the_logarithm_of_the_ratio() -> None:
    drawn, prior_sample = (torch.randn(400_000, generator=torch.Generator().manual_seed(n)) + 1 - n for n in range(2))
    exact = [values - 0.5 for values in (drawn, prior_sample)]
    assert dual(*exact).mean().item() == pytest.approx(0.5, abs=0.01)
    assert dual(*(values * 0.7 for values in exact)).mean().item() < 0.49


def test_a_sample_of_the_prior_that_a_critic_is_sure_of_costs_a_straight_line() -> None:
    told = torch.tensor([STRAIGHT, STRAIGHT + 1, STRAIGHT + 50], requires_grad=True)
    costs = 1 - dual(torch.zeros(3), told)
    assert costs.tolist() == pytest.approx([math.exp(STRAIGHT) * n for n in (1, 2, 51)], rel=1e-6)
    (slope,) = torch.autograd.grad(costs.sum(), told)
    assert slope[1:].tolist() == pytest.approx([math.exp(STRAIGHT)] * 2, rel=1e-6)


@pytest.mark.parametrize(
    ("settings", "named"), [({"latent_size": 0}, "model.latent_size"), ({"num_samples": 0}, "model.num_samples")]
)
def test_a_latent_variable_without_a_value_is_refused(settings: dict[str, int], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        IvaeMiConfig(10, **settings)  # type: ignore[arg-type]  # one of two numbers


def test_the_paper_sizes_are_those_of_the_spec() -> None:
    model = IvaeMi(IvaeMiConfig(50, hidden_size=300))
    assert isinstance(model.prior.generator[0], nn.Linear)
    assert [layer.out_features for layer in model.prior.generator if isinstance(layer, nn.Linear)] == [200] * 3
    assert model.context.cells[0].given.in_features == 602, "both directions of a turn, and two numbers by whom"
