"""A persona of a PLATO: its latents, their prior and its adapters, by every method that adapts."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import pytest
import torch
from made_up import Toy, Variant, assert_same_bits, part, snapshot

from menura.adaptation.finetune import Finetune, PretrainOnly
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.latent_policy import LatentPolicy
from menura.adaptation.maml import Maml
from menura.adaptation.protocol import Adaptation
from menura.adaptation.weights import PersonaWeights, loss_with, trainable_parameters
from menura.batches.encode import EncodedDialogue, EncodedEpisode

PERSONAL = "latent,prior,adapters"
INNER = InnerLoop(lr=0.02, epochs=6, batch_size=0, optimizer="adam")
METHODS: dict[str, Adaptation] = {
    "finetune": Finetune(INNER, PERSONAL),
    "maml": Maml(INNER, trainable=PERSONAL),
    "maml, exact": Maml(INNER, trainable=PERSONAL, order="exact"),
    "latent-policy": LatentPolicy(INNER, PERSONAL, max_new_tokens=3),
}
SAID = {"ada": "aye aye", "bob": "no no"}
ASKED = ("tea?", "a walk?", "more?", "now?", "soon?", "here?")

Dialogues = tuple[EncodedDialogue, ...]


def dialogues(toy: Toy, person: str) -> Dialogues:
    """Return what one of two people, who are asked the same, always says."""
    return toy.dialogues([part(f"{person}-{n}", asked, SAID[person]) for n, asked in enumerate(ASKED)])


@pytest.fixture(scope="module")
def toy() -> Toy:
    """Return a small PLATO that was taught what the two say, and not by whom."""
    toy = Variant(model="plato", settings={"adapter_bottleneck": 4, "dropout": 0.0}).toy(stirred=False)
    outer = torch.optim.Adam(trainable_parameters(toy.model).values(), lr=1e-2)
    both = EncodedEpisode("both", (), tuple(chain.from_iterable(dialogues(toy, p)[:4] for p in SAID)))
    for step in range(40):
        outer.zero_grad()
        PretrainOnly().objective(toy.model, both, step / 40).total.backward()
        outer.step()
    return toy


def nll(toy: Toy, held: Sequence[EncodedDialogue], weights: PersonaWeights) -> float:
    with torch.no_grad():
        return float(loss_with(toy.model, weights, toy.model.batch(tuple(chain.from_iterable(held)))).nll.mean())


@pytest.mark.parametrize("name", METHODS)
def test_what_an_adapted_persona_has_yet_to_say_is_likelier_and_what_the_other_says_is_not(name: str, toy: Toy) -> None:
    before = snapshot(toy.model)
    weights = {person: METHODS[name].adapt(toy.model, dialogues(toy, person)[:4]) for person in SAID}
    assert_same_bits(toy.model, before, name)
    for person, other in (("ada", "bob"), ("bob", "ada")):
        assert all(any(part in weight for part in PERSONAL.split(",")) for weight in weights[person])
        assert {weight.partition(".")[0] for weight in weights[person]} == {"latent", "prior", "body"}
        held = dialogues(toy, person)[4:]
        unadapted, own, wrong = (nll(toy, held, w) for w in ({}, weights[person], weights[other]))
        assert own < unadapted - 0.2 < wrong, f"{name}, {person}: {unadapted:.2f}, {own:.2f}, {wrong:.2f}"
        assert wrong > unadapted + 0.2


@pytest.mark.parametrize("name", ["maml", "maml, exact"])
def test_the_meta_gradient_reaches_all_that_trains_and_lowers_the_query_loss(name: str, toy: Toy) -> None:
    method = METHODS[name]
    assert isinstance(method, Maml)
    method = replace(method, inner=replace(INNER, epochs=2))
    found = dialogues(toy, "ada")
    episode = EncodedEpisode("ada", found[:2], found[2:4])
    start = {name: p.detach().clone() for name, p in trainable_parameters(toy.model).items()}
    losses = []
    try:
        outer = torch.optim.SGD(trainable_parameters(toy.model).values(), lr=1e-2)
        for _ in range(3):
            outer.zero_grad()
            loss = method.objective(toy.model, episode)
            loss.total.backward()
            losses.append(loss.total.item())
            still = {n for n, p in trainable_parameters(toy.model).items() if p.grad is None or not bool(p.grad.any())}
            # Judging reads no reply, so recognition and what hangs on it stay out of the query's loss.
            assert {n.partition(".")[0] for n in still} <= {"posterior", "mask_slot", "bag", "selection", "embeddings"}
            outer.step()
    finally:
        with torch.no_grad():
            for n, p in trainable_parameters(toy.model).items():
                p.copy_(start[n])
                p.grad = None
    assert losses[-1] < losses[0]


def test_the_exact_gradient_is_not_the_first_order_one(toy: Toy) -> None:
    found = dialogues(toy, "bob")
    episode = EncodedEpisode("bob", found[:2], found[2:4])
    gradients = []
    for order in ("first", "exact"):
        method = Maml(InnerLoop(lr=0.1, epochs=2, batch_size=0), trainable=PERSONAL, order=order)  # type: ignore[arg-type]
        total = method.objective(toy.model, episode).total
        gradients.append(torch.autograd.grad(total, toy.model.latent)[0])
    assert torch.isfinite(torch.stack(gradients)).all()
    assert not torch.allclose(*gradients, rtol=1e-3)
