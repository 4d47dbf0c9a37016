"""The latent as an action: who moves, what is drawn, what is earned."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from made_up import FACTS, QUERY, SUPPORT, VARIANTS, Toy, Variant, assert_same_bits, part, snapshot

from menura.adaptation import rewards
from menura.adaptation.catalogue import METHODS
from menura.adaptation.finetune import support_and_query_loss
from menura.adaptation.latent_policy import InitialWeights, LatentPolicy, drawn, replies_under
from menura.adaptation.weights import adaptable_parameters
from menura.batches.encode import EncodedEpisode
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.errors import ConfigError

LATENTS = 5


def toy_with(**settings: Any) -> Toy:
    return Variant(model="plato", settings=settings).toy()


def episode_of(toy: Toy) -> EncodedEpisode:
    return EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))


def reached(toy: Toy, method: LatentPolicy) -> set[str]:
    """Return the names of what the objective's gradient reaches."""
    for parameter in toy.model.parameters():
        parameter.grad = None
    method.objective(toy.model, episode_of(toy)).total.backward()
    return {name for name, p in toy.model.named_parameters() if p.grad is not None}


PRIOR = {"prior.asks", "prior.out.weight", "prior.out.bias"}


def test_it_is_in_the_catalogue() -> None:
    assert METHODS["latent-policy"] is LatentPolicy


def test_the_generator_is_held() -> None:
    toy = toy_with()
    assert reached(toy, LatentPolicy(rewards="distinct", max_new_tokens=4, supervised_weight=0.0)) == PRIOR
    assert reached(toy, LatentPolicy(rewards="distinct", max_new_tokens=4)) == {*PRIOR, "latent"}
    assert reached(
        toy, LatentPolicy(rewards="distinct", max_new_tokens=4, train_generator=True, reference_loss_weight=0.0)
    ) > {*PRIOR, "latent"}


@pytest.mark.parametrize("visibility", ["response_only", "prefix"])
@pytest.mark.parametrize("unfreezes", [True, False])
def test_the_model_comes_back_as_it_was(visibility: str, *, unfreezes: bool) -> None:
    toy = toy_with(visibility=visibility)
    method = LatentPolicy(rewards="rs,knowledge,distinct", max_new_tokens=4, num_latents=2, train_generator=unfreezes)
    method.attach(toy.model)
    before = snapshot(toy.model)
    loss = method.objective(toy.model, episode_of(toy))
    assert torch.isfinite(loss.total)
    assert_same_bits(toy.model, before)


def test_its_nll_are_those_of_the_pooled_loss_and_its_parts_tell_the_reward() -> None:
    toy = toy_with()
    plain, ours = (
        f(toy.model, episode_of(toy)) for f in (support_and_query_loss, LatentPolicy(max_new_tokens=4).objective)
    )
    assert torch.equal(ours.nll, plain.nll)
    assert set(ours.parts) - set(plain.parts) == {"reward", "uncertainty"}
    assert 0 < float(ours.parts["reward"]) < 1


def test_a_model_without_latents_learns_by_the_pooled_loss() -> None:
    toy = toy_with(num_latents=0)
    ours, plain = (f(toy.model, episode_of(toy)).total for f in (LatentPolicy().objective, support_and_query_loss))
    assert torch.equal(ours, plain)


@pytest.mark.parametrize("settings", [{"num_latents": 0}, {"num_latents": 1}, {"prior": "uniform"}])
def test_a_model_without_a_policy_to_train_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="learned prior over two latents"):
        LatentPolicy().attach(toy_with(**settings).model)


def test_a_model_that_has_no_latents_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="learned prior over two latents"):
        LatentPolicy().attach(VARIANTS["houlsby"].toy().model)


def test_unfrozen_it_is_held_to_what_it_said_before_the_training() -> None:
    toy = toy_with()
    method = LatentPolicy(
        rewards="distinct",
        max_new_tokens=4,
        entropy_bonus=0.0,
        supervised_weight=0.0,
        train_generator=True,
        reference_loss_weight=1.0,
    )
    method.attach(toy.model)
    assert isinstance(toy.model.initial_weights, InitialWeights)
    assert not {name for name in toy.model.state_dict() if name.startswith("initial_weights")}, "it is not saved"
    weights = list(adaptable_parameters(toy.model).values())
    away = [torch.randn(w.shape, generator=torch.Generator().manual_seed(n)) for n, w in enumerate(weights)]

    def held() -> float:
        whole, rest = (
            m.objective(toy.model, episode_of(toy)).total.item()
            for m in (method, replace(method, reference_loss_weight=0.0))
        )
        return whole - rest

    at_first = held()
    with torch.no_grad():
        for weight, way in zip(weights, away, strict=True):
            weight += 0.3 * way
    gone = held()
    assert gone > at_first + 0.5
    outer = torch.optim.Adam(weights, lr=0.01)
    for _ in range(15):
        outer.zero_grad()
        method.objective(toy.model, episode_of(toy)).total.backward()
        outer.step()
    assert held() < gone - 0.5, "lowering the loss leads back"


def test_drawn_latents_are_different_ones_and_weigh_one_together() -> None:
    log_policy = torch.randn((40, 6), generator=torch.Generator().manual_seed(1)).log_softmax(-1)
    latents, weights = drawn(log_policy, range(40), 3)
    assert all(len(set(row)) == 3 for row in latents.tolist())
    assert torch.allclose(weights.sum(1), torch.ones(40))
    every, exact = drawn(log_policy, range(40), 0)
    assert every.tolist() == [list(range(6))] * 40
    assert torch.equal(exact, log_policy.exp())
    assert torch.equal(drawn(log_policy, range(40), 6)[1], exact), "as many as there are"


def test_what_is_drawn_stands_for_the_policy_on_average() -> None:
    log_policy = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().expand(20_000, -1)
    worth = torch.tensor([1.0, 2.0, 3.0, 4.0])
    exact = float((log_policy[0].exp() * worth).sum())
    latents, weights = drawn(log_policy, range(20_000), 2)
    assert float((weights * worth[latents]).sum(1).mean()) == pytest.approx(exact, abs=0.05)
    first, alone = drawn(log_policy, range(20_000), 1)
    shares = torch.bincount(first.flatten(), minlength=4) / 20_000
    assert torch.allclose(shares, log_policy[0].exp(), atol=0.02)
    assert torch.equal(alone, torch.ones_like(alone))


@pytest.mark.parametrize("visibility", ["response_only", "prefix"])
def test_what_is_said_side_by_side_is_what_each_latent_says_alone(visibility: str) -> None:
    toy = toy_with(visibility=visibility)
    exchanges = [exchange for dialogue in toy.dialogues((*SUPPORT, *QUERY)) for exchange in dialogue]
    latents = torch.stack([torch.randperm(LATENTS, generator=torch.Generator().manual_seed(n))[:3] for n in range(5)])
    found = replies_under(toy.model, exchanges, latents, 6)
    for exchange, row, replies in zip(exchanges, latents.tolist(), found, strict=True):
        prompt = toy.model.batch([replace(exchange, reply=())])
        for act, reply in zip(row, replies, strict=True):
            begun = toy.model.prefill_latents(prompt, [act])
            (ids,) = generate(toy.model, prompt, Greedy(), end=toy.end, max_new_tokens=6, seeds=[0], prefilled=begun)
            assert reply == (*ids, toy.end)


def test_another_share_of_the_training_draws_others() -> None:
    toy = toy_with()
    method = LatentPolicy(baseline="none", max_new_tokens=3, num_latents=2, entropy_bonus=0.0, supervised_weight=0.0)
    first, again = (
        [method.objective(toy.model, episode_of(toy), n / 8).total.item() for n in range(8)] for _ in range(2)
    )
    assert first == again
    assert len(set(first)) > 1


# Rewards


def replies_of(toy: Toy, *lines: Sequence[str]) -> list[list[tuple[int, ...]]]:
    return [[(*toy.encoder.tokenizer.encode(line), toy.end) for line in own] for own in lines]


def test_selection_is_the_chance_of_coherence() -> None:
    toy = toy_with()
    first, second = toy.dialogues(SUPPORT)[0]
    said = replies_of(toy, ["yes", "no"], ["a clock", "my goat"])
    found = rewards.REWARDS["rs"](toy.model, [first, second], said)
    assert found.shape == (2, 2)
    alone = toy.model.reply_scores(toy.model.batch([replace(second, reply=said[1][0])])).sigmoid()
    assert found[1, 0].item() == pytest.approx(alone.item(), rel=1e-5)


def test_selection_is_refused_where_there_is_none() -> None:
    toy = toy_with(selection_weight=0.0)
    with pytest.raises(ConfigError, match="no response selection"):
        LatentPolicy(max_new_tokens=2).objective(toy.model, episode_of(toy))


def test_knowledge_is_the_share_of_rare_tokens_that_the_facts_hold() -> None:
    toy = toy_with()
    (dialogue,) = toy.dialogues((part("k", *["hi there", "hello there"] * 8, facts=FACTS),))
    asked = dialogue[-1]
    # "h" and the space are in every turn, "f", "n" and "c" only in facts, "z" and "q" nowhere.
    found = rewards.REWARDS["knowledge"](toy.model, [asked], replies_of(toy, ["fn h", "fnz", "zq", "h h", ""]))
    assert found.tolist() == [pytest.approx([1.0, 2 / 3, 0.0, 0.0, 0.0])]


def test_distinct_is_the_share_of_pairs_that_no_other_reply_has() -> None:
    toy = toy_with()
    said = replies_of(toy, ["ab", "abc", "xyz", "xyz", ""])
    found = rewards.REWARDS["distinct"](toy.model, [toy.dialogues(QUERY)[0][0]], said)
    # ab: a-b is shared, b-end is not; abc: b-c and c-end are its own.
    assert found.tolist() == [pytest.approx([1 / 2, 2 / 3, 0.0, 0.0, 0.0])]


def test_several_rewards_count_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, worth in (("low", 0.2), ("high", 0.8)):
        monkeypatch.setitem(rewards.REWARDS, name, lambda m, e, r, w=worth: torch.full((len(r), len(r[0])), w))  # type: ignore[misc]
    toy = toy_with()
    loss = LatentPolicy(rewards="low, high", max_new_tokens=2).objective(toy.model, episode_of(toy))
    assert float(loss.parts["reward"]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rewards": "distnct"}, "unknown reward 'distnct'.*did you mean distinct"),
        ({"rewards": " ,"}, "method.rewards: none is named"),
        ({"num_latents": -1}, "method.num_latents: -1"),
        ({"num_latents": 1}, "leave-one-out needs another draw"),
        ({"max_new_tokens": 0}, "method.max_new_tokens: 0"),
        ({"entropy_bonus": -0.1}, "method.entropy_bonus: -0.1"),
        ({"supervised_weight": -1.0}, "method.supervised_weight: -1.0"),
        ({"reference_loss_weight": -1.0}, "method.reference_loss_weight: -1.0"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LatentPolicy(**settings)
