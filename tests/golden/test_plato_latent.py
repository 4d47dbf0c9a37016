"""Acceptance checks P15 and P18 of PLATO: one context, several replies; the latent as an action."""

from collections.abc import Sequence

import pytest
import torch
from small_plato import END, EXCHANGES, plato
from torch import Tensor

from menura.adaptation import latent_policy, rewards
from menura.adaptation.latent_policy import LatentPolicy, said_under
from menura.adaptation.weights import trained
from menura.batches.encode import EncodedEpisode, EncodedExchange
from menura.models.plato import Plato

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

    monkeypatch.setattr(latent_policy, "said_under", told)
    monkeypatch.setitem(rewards.REWARDS, MADE_UP, earned)  # type: ignore[arg-type]  # a dict, told as a Mapping


def learnt(model: Plato, method: LatentPolicy, steps: int) -> tuple[int, Tensor]:
    """Train until the second latent has 0.95 of the policy everywhere; return the steps taken and π (B, K)."""
    outer = torch.optim.Adam(trained(model).values(), lr=0.05)
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
    model = plato(latents=2, stirred=1.0)
    both = torch.arange(2).expand(len(ASKED), -1)
    wanted = [own[1] for own in said_under(model, ASKED, both, 4)]
    assert all(own[0] != own[1] for own in said_under(model, ASKED, both, 4)), "the two say different things"

    def earned(model: Plato, exchanges: Sequence[EncodedExchange], replies: Sequence[Sequence[object]]) -> Tensor:
        del model, exchanges
        return torch.tensor([[float(r == good) for r in own] for own, good in zip(replies, wanted, strict=True)])

    monkeypatch.setitem(rewards.REWARDS, MADE_UP, earned)  # type: ignore[arg-type]  # a dict, told as a Mapping
    model.prior.out.bias.data[:] = torch.tensor([2.0, 0.0])  # type: ignore[union-attr]  # the wrong one is likelier
    steps, chances = learnt(model, LatentPolicy(rewards=MADE_UP, limit=4, supervised=0.0), 300)
    assert steps < 300, f"{chances} after {steps} steps"
    assert said_under(model, ASKED, both, 4)[0][1] == wanted[0], "the generator is what it was"


@pytest.mark.parametrize("baseline", ["mean", "none"])
def test_p18_one_draw_a_context_is_enough(baseline: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pay(monkeypatch, (0.0, 1.0))
    method = LatentPolicy(rewards=MADE_UP, draws=1, baseline=baseline, supervised=0.0)  # type: ignore[arg-type]
    steps, chances = learnt(plato(latents=2), method, 300)
    assert steps < 300, f"{chances} after {steps} steps"


def gradients(method: LatentPolicy, draws: int = 200) -> Tensor:
    """Return (draws, K): by draw, the gradient of the policy's own bias."""
    model = plato(seed=3)
    bias = model.prior.out.bias  # type: ignore[union-attr]
    totals = (method.objective(model, EPISODE, draw / draws).total for draw in range(draws))
    return torch.stack([torch.autograd.grad(total, bias)[0] for total in totals])


def test_p18_leaving_one_out_lowers_the_variance_and_keeps_the_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    pay(monkeypatch, (0.9, 0.6, 0.8, 0.7, 0.5))
    found = {
        baseline: gradients(LatentPolicy(rewards=MADE_UP, draws=2, baseline=baseline, bonus=0.0, supervised=0.0))  # type: ignore[arg-type]
        for baseline in ("leave-one-out", "none")
    }
    spread = {baseline: float(all_draws.var(0).sum()) for baseline, all_draws in found.items()}
    assert spread["leave-one-out"] < 0.4 * spread["none"], spread
    exact = gradients(LatentPolicy(rewards=MADE_UP, bonus=0.0, supervised=0.0), draws=1)[0]
    for baseline, all_draws in found.items():
        likeness = torch.nn.functional.cosine_similarity(all_draws.mean(0), exact, dim=0)
        assert float(likeness) > (0.9 if baseline == "leave-one-out" else 0.5)
