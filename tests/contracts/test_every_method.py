"""What every adaptation method of the catalogue promises, asked of each without being named here."""

from dataclasses import fields
from typing import Any

import pytest
import torch
from counts import count
from made_up import QUERY, SUPPORT, VARIANTS, Toy, assert_same_bits, snapshot

from menura.adaptation.catalogue import METHODS
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.adaptation.protocol import Adaptation
from menura.adaptation.weights import adaptable_parameters, loss_with, swapped_weights
from menura.batches.encode import EncodedEpisode

INNER = InnerLoop(lr=0.05, epochs=4, batch_size=2)
OUTER_STEPS = count(full_count=3, quick_count=2)
LEARNS_NOTHING = {"pretrain-only"}

OPTIONS: dict[str, Adaptation] = {
    "maml, exact": Maml(INNER, order="exact", unadapted_loss_weight=0.2),
    "maml, recursion and multi-step": Maml(INNER, order="exact", recompute=True, multi_step=1.0),
    "maml, turning exact": Maml(INNER, exact_from=0.5),
    "maml, reptile": Maml(INNER, order="reptile"),
}

every_method = pytest.mark.parametrize("name", [*METHODS, *OPTIONS])
PLACES = ["houlsby", "lora-upper", "special", "in-place", "gpt2-houlsby"]
every_place = pytest.mark.parametrize("variant", PLACES[:: count(full_count=1, quick_count=3)])


def method_named(name: str) -> Adaptation:
    """Make a method with an inner loop of our own, where it has one."""
    if name in OPTIONS:
        return OPTIONS[name]
    kind: Any = METHODS[name]
    made: Adaptation = kind(inner=INNER) if any(field.name == "inner" for field in fields(kind)) else kind()
    return made


def episode_of(toy: Toy) -> EncodedEpisode:
    return EncodedEpisode("mira", toy.dialogues(SUPPORT), toy.dialogues(QUERY))


@every_method
@every_place
def test_adapting_lowers_support_loss(name: str, variant: str) -> None:
    toy = VARIANTS[variant].toy()
    support = toy.batch(SUPPORT)
    weights = method_named(name).adapt(toy.model, toy.dialogues(SUPPORT))
    before, adapted = (float(loss_with(toy.model, w, support).total.detach()) for w in ({}, weights))
    assert adapted == before if name in LEARNS_NOTHING else adapted < before - 0.01


@every_method
@every_place
def test_the_model_comes_back_bit_identical(name: str, variant: str) -> None:
    toy = VARIANTS[variant].toy()
    before = snapshot(toy.model)
    method_named(name).adapt(toy.model, toy.dialogues(SUPPORT))
    assert_same_bits(toy.model, before, f"{name}'s adapt")
    _ = method_named(name).objective(toy.model, episode_of(toy)).total
    assert_same_bits(toy.model, before, f"{name}'s objective")


@every_method
@every_place
def test_weights_beside_the_model_and_inside_it_give_the_same_loss(name: str, variant: str) -> None:
    toy = VARIANTS[variant].toy()
    weights = method_named(name).adapt(toy.model, toy.dialogues(SUPPORT))
    query = toy.batch(QUERY)
    beside = loss_with(toy.model, weights, query)
    with swapped_weights(toy.model, weights):
        inside = toy.model.loss(query)
    assert torch.equal(beside.nll, inside.nll)


@every_method
@pytest.mark.parametrize("variant", PLACES[: count(full_count=len(PLACES), quick_count=1)])
def test_the_same_seed_gives_the_same_first_losses(name: str, variant: str) -> None:
    runs = []
    for _ in range(2):
        toy = VARIANTS[variant].toy()
        outer = torch.optim.SGD(list(adaptable_parameters(toy.model).values()), lr=0.05)
        losses = []
        for _ in range(OUTER_STEPS):
            outer.zero_grad()
            loss = method_named(name).objective(toy.model, episode_of(toy))
            loss.total.backward()
            outer.step()
            losses.append(loss.total.item())
        runs.append(losses)
    assert runs[0] == runs[1]
    assert len(set(runs[0])) == OUTER_STEPS, "outer steps change the loss"


@every_method
def test_the_gradient_of_the_objective_reaches_all_that_adapts_and_nothing_else(name: str) -> None:
    toy = VARIANTS["houlsby-upper"].toy()
    method_named(name).objective(toy.model, episode_of(toy)).total.backward()
    reached = {n for n, p in toy.model.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert reached == adaptable_parameters(toy.model).keys()


@every_method
def test_persona_weights_are_plain_tensors_of_what_adapts(name: str) -> None:
    toy = VARIANTS["lora"].toy()
    weights = method_named(name).adapt(toy.model, toy.dialogues(SUPPORT))
    wanted = {} if name in LEARNS_NOTHING else adaptable_parameters(toy.model)
    assert {n: w.shape for n, w in weights.items()} == {n: p.shape for n, p in wanted.items()}
    assert not any(w.requires_grad for w in weights.values())
    assert not {w.data_ptr() for w in weights.values()} & {p.data_ptr() for p in toy.model.parameters()}


@every_method
def test_adapting_works_where_gradients_are_switched_off(name: str) -> None:
    toy = VARIANTS["houlsby"].toy()
    wanted = method_named(name).adapt(toy.model, toy.dialogues(SUPPORT))
    with torch.no_grad():
        found = method_named(name).adapt(toy.model, toy.dialogues(SUPPORT))
    assert all(torch.equal(found[n], wanted[n]) for n in wanted)


@every_method
def test_an_empty_support_set_leaves_the_base(name: str) -> None:
    toy = VARIANTS["houlsby"].toy()
    weights = method_named(name).adapt(toy.model, ())
    parameters = dict(toy.model.named_parameters())
    assert all(torch.equal(weight, parameters[n]) for n, weight in weights.items())
    assert not {w.data_ptr() for w in weights.values()} & {p.data_ptr() for p in parameters.values()}


@every_method
def test_the_watch_sees_every_step_and_a_falling_loss(name: str) -> None:
    toy = VARIANTS["houlsby"].toy()
    seen: list[tuple[int, int, float]] = []
    method_named(name).adapt(toy.model, toy.dialogues(SUPPORT), lambda *news: seen.append(news))
    if name in LEARNS_NOTHING:
        assert not seen
        return
    assert [done for done, _, _ in seen] == list(range(1, len(seen) + 1))
    assert {steps for _, steps, _ in seen} == {len(seen)}
    assert seen[-1][2] < seen[0][2]
