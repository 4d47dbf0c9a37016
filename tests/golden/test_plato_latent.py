"""Acceptance checks P15 and P18 of PLATO: one context, several replies; the latent as an action."""

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from counts import count
from small_plato import END, EXCHANGES, FIRST_WORD, SIZES, plato, said
from torch import Tensor

from menura.adaptation import latent_policy, rewards
from menura.adaptation.finetune import PretrainOnly
from menura.adaptation.latent_policy import LatentPolicy, replies_under
from menura.adaptation.weights import trainable_parameters
from menura.batches.encode import EncodedDialogue, EncodedEpisode, EncodedExchange
from menura.models.layers.latent import Health
from menura.models.plato.model import Plato
from menura.training.trainer import schedule

ASKED = EXCHANGES[:2]
EPISODE = EncodedEpisode("p", (), (ASKED,))
MADE_UP = "made-up"


def pay(monkeypatch: pytest.MonkeyPatch, worth: Sequence[float]) -> None:
    """Let each latent say its own number, and pay for that."""

    def told(model: object, exchanges: Sequence[object], latents: Tensor, limit: int) -> list[list[tuple[int, ...]]]:
        del model, exchanges, limit
        return [[(act, END) for act in row] for row in latents.tolist()]

    def earned(model: object, exchanges: object, replies: Sequence[Sequence[tuple[int, ...]]]) -> Tensor:
        del model, exchanges
        return torch.tensor([[worth[reply[0]] for reply in own] for own in replies], dtype=torch.float64)

    monkeypatch.setattr(latent_policy, "replies_under", told)
    monkeypatch.setitem(rewards.REWARDS, MADE_UP, earned)  # type: ignore[arg-type]  # a dict, told as a Mapping


def learnt(model: Plato, method: LatentPolicy, steps: int) -> tuple[int, Tensor]:
    """Train until the second latent has 0.95 of the policy everywhere; return the steps taken and π (B, K)."""
    outer = torch.optim.Adam(trainable_parameters(model).values(), lr=0.05)
    chances = torch.zeros(())
    for step in range(steps):
        outer.zero_grad()
        method.objective(model, EPISODE, step / steps).total.backward()
        outer.step()
        with torch.no_grad():
            chances = model.latent_prior(model.batch(ASKED)).exp()
        if float(chances[:, 1].min()) > 0.95:
            return step + 1, chances
    return steps, chances


def test_p18_the_latent_whose_replies_earn_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = plato(num_latents=2, stirred=1.0)
    both = torch.arange(2).expand(len(ASKED), -1)
    wanted = [own[1] for own in replies_under(model, ASKED, both, 4)]
    assert all(own[0] != own[1] for own in replies_under(model, ASKED, both, 4)), "the two say different things"

    def earned(model: Plato, exchanges: Sequence[EncodedExchange], replies: Sequence[Sequence[object]]) -> Tensor:
        del model, exchanges
        return torch.tensor([[float(r == good) for r in own] for own, good in zip(replies, wanted, strict=True)])

    monkeypatch.setitem(rewards.REWARDS, MADE_UP, earned)  # type: ignore[arg-type]  # a dict, told as a Mapping
    model.prior.out.bias.data[:] = torch.tensor([2.0, 0.0])  # type: ignore[union-attr]  # the wrong one is likelier
    steps, chances = learnt(model, LatentPolicy(rewards=MADE_UP, max_new_tokens=4, supervised_weight=0.0), 300)
    assert steps < 300, f"{chances} after {steps} steps"
    assert replies_under(model, ASKED, both, 4)[0][1] == wanted[0], "the generator is what it was"


@pytest.mark.parametrize("baseline", ["mean", "none"])
def test_p18_one_draw_a_context_is_enough(baseline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pay(monkeypatch, (0.0, 1.0))
    method = LatentPolicy(rewards=MADE_UP, num_latents=1, baseline=baseline, supervised_weight=0.0)  # type: ignore[arg-type]
    steps, chances = learnt(plato(num_latents=2), method, 300)
    assert steps < 300, f"{chances} after {steps} steps"


def gradients(method: LatentPolicy, draws: int = count(full_count=200, quick_count=80)) -> Tensor:
    """Return (draws, K): by draw, the gradient of the policy's own bias."""
    model = plato(seed=3)
    bias = model.prior.out.bias  # type: ignore[union-attr]
    totals = (method.objective(model, EPISODE, draw / draws).total for draw in range(draws))
    return torch.stack([torch.autograd.grad(total, bias)[0] for total in totals])


def test_p18_leaving_one_out_lowers_the_variance_and_keeps_the_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    pay(monkeypatch, (0.9, 0.6, 0.8, 0.7, 0.5))
    found = {
        baseline: gradients(
            LatentPolicy(rewards=MADE_UP, num_latents=2, baseline=baseline, entropy_bonus=0.0, supervised_weight=0.0)
        )  # type: ignore[arg-type]
        for baseline in ("leave-one-out", "none")
    }
    spread = {baseline: float(all_draws.var(0).sum()) for baseline, all_draws in found.items()}
    assert spread["leave-one-out"] < 0.4 * spread["none"], spread
    exact = gradients(LatentPolicy(rewards=MADE_UP, entropy_bonus=0.0, supervised_weight=0.0), draws=1)[0]
    for baseline, all_draws in found.items():
        likeness = torch.nn.functional.cosine_similarity(all_draws.mean(0), exact, dim=0)
        assert float(likeness) > (0.9 if baseline == "leave-one-out" else 0.5)


# P15: eight contexts (a quick run has four, for half the steps), each with three replies that are all right

STEPS, CONTEXTS = count(full_count=500, quick_count=250), count(full_count=8, quick_count=4)
RATE, REPLIES, SEED = 5e-3, 3, 5


def one_to_many() -> list[EncodedDialogue]:
    """Return what was said in each context: three replies of four words."""
    rng = random.Random(0)

    def words() -> list[int]:
        return [rng.randrange(FIRST_WORD, SIZES.vocab_size) for _ in range(4)]

    def dialogue(number: int) -> EncodedDialogue:
        asked = words()
        return tuple(said(asked, reply=words(), dialogue=f"d{number}") for _ in range(REPLIES))

    return [dialogue(number) for number in range(CONTEXTS)]


def taught(found: Sequence[EncodedDialogue], **settings: Any) -> Plato:
    """Train as a run does, two contexts a step: what usage counts in an episode are the replies to one context."""
    model = plato(double=False, stirred=0.0, seed=SEED, **settings)
    weights = list(trainable_parameters(model).values())
    outer = torch.optim.Adam(weights, lr=RATE)
    rng = random.Random(SEED)
    for step in range(STEPS):
        outer.param_groups[0]["lr"] = RATE * schedule(step, STEPS, 20)
        outer.zero_grad()
        for dialogue in rng.sample(found, 2):
            episode = EncodedEpisode("p", (), (dialogue,))
            (PretrainOnly().objective(model, episode, step / STEPS).total / 2).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 2.0)
        outer.step()
    return model


@pytest.mark.slow
def test_p15_one_context_several_replies() -> None:
    """As many latents as there are replies: of those that a context has no use for, the prior lets go slowly."""
    found = one_to_many()
    ours = taught(found, num_latents=REPLIES, mutual_info_weight=3.0, entropy_weight=1.0, selection_weight=0.0)
    without = taught(found, num_latents=0)
    batch = ours.batch([exchange for dialogue in found for exchange in dialogue])
    with torch.no_grad():
        told = ours.latent_nll(batch)
        mixture, plain = float(told.mixture.mean()), float(without.loss(batch).nll.mean())
    assert math.log(REPLIES) < mixture < plain, "nobody can know which of three replies it will be"
    # The latent is to tell apart the replies to one context; contexts it could tell apart for nothing.
    within = [Health.of(rows).information for rows in told.log_posterior.split(REPLIES)]
    assert min(within) > 0.5 * math.log(REPLIES), within
    each = replies_under(ours, [dialogue[0] for dialogue in found], torch.arange(REPLIES).expand(CONTEXTS, -1), 8)
    met = [len({e.reply for e in dialogue} & set(own)) for dialogue, own in zip(found, each, strict=True)]
    assert min(met) >= 2, met
