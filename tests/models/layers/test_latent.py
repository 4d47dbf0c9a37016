import math

import pytest
import torch
from torch import Tensor

from menura.models.layers.latent import Health, drawn, gumbel_noise, information_of, mixture_nll, stream_of


def log_posterior(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def test_each_seed_has_noise_of_its_own_that_mates_do_not_change() -> None:
    together = gumbel_noise([3, 4, 3], 6)
    assert torch.equal(together[0], together[2])
    assert not torch.equal(together[0], together[1])
    assert torch.equal(gumbel_noise([4], 6)[0], together[1])
    assert torch.isfinite(gumbel_noise(range(2000), 50)).all()
    before = torch.get_rng_state()
    gumbel_noise([1], 6)
    assert torch.equal(torch.get_rng_state(), before)


def test_streams_differ_by_seed_and_by_what_is_read() -> None:
    assert len({stream_of(seed, ids) for seed in range(30) for ids in ([1, 2], [12], [2, 1], [])}) == 120
    assert stream_of(3, [1, 2]) == stream_of(3, (1, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_weights_are_drawn_in_the_posteriors_number_format(dtype: torch.dtype) -> None:
    posterior = log_posterior([0.5, 0.3, 0.2]).to(dtype)
    for how in ("gumbel_soft", "gumbel_st", "argmax", "sample"):
        found = drawn(posterior, gumbel_noise([1], 3), how, 0.5)  # type: ignore[arg-type]
        assert found.dtype == dtype
        assert float(found.sum()) == pytest.approx(1, abs=1e-2)


def test_the_straight_way_forward_has_the_mixtures_gradient() -> None:
    noise, weights = gumbel_noise(range(4), 3), torch.randn(3, dtype=torch.float64)
    slopes = []
    for how in ("gumbel_soft", "gumbel_st"):
        logits = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
        made = drawn(logits.log_softmax(-1), noise, how, 0.5)  # type: ignore[arg-type]
        slopes.append(torch.autograd.grad((made @ weights).sum(), logits)[0])
    assert torch.equal(*slopes)
    assert slopes[0].abs().max() > 0.01


def test_the_mixture_is_the_sum_of_the_chances() -> None:
    nll = torch.tensor([[1.0, 2.0], [800.0, 900.0]], dtype=torch.float64)
    prior = log_posterior([0.25, 0.75], [0.5, 0.5])
    found = mixture_nll(nll, prior)
    assert float(found[0]) == pytest.approx(-math.log(0.25 * math.exp(-1) + 0.75 * math.exp(-2)), rel=1e-14)
    assert float(found[1]) == pytest.approx(800 + math.log(2), rel=1e-14)


def test_health_tells_latents_that_are_used_from_latents_that_are_not() -> None:
    used = Health.of(log_posterior([1, 0, 0], [0, 1, 0], [0, 0, 1]))
    assert (used.information, used.dead) == (pytest.approx(math.log(3)), 0)
    asleep = Health.of(log_posterior([1, 0, 0], [1, 0, 0]))
    assert (asleep.information, asleep.dead) == (pytest.approx(0), 2)
    undecided = Health.of(log_posterior([1 / 3] * 3, [1 / 3] * 3))
    assert undecided.usage == pytest.approx(math.log(3))
    assert undecided.information == pytest.approx(0, abs=1e-12)
    assert used.said == "latents: information 1.10 of 1.10 nats, 0 of 3 unused"


def test_information_has_a_gradient_where_a_latent_is_all_but_impossible() -> None:
    logits = torch.tensor([[0.0, 1.0, -2000.0], [3.0, 0.0, -2000.0]], dtype=torch.float64, requires_grad=True)
    used, certain = information_of(logits.log_softmax(-1))
    (slope,) = torch.autograd.grad(used - certain, logits)
    assert torch.isfinite(slope).all()
    for row, column in ((0, 0), (1, 1)):
        nudge = torch.zeros_like(logits)
        nudge[row, column] = 1e-6
        with torch.no_grad():
            ends = [information_of((logits + sign * nudge).log_softmax(-1)) for sign in (1, -1)]
        central = ((ends[0][0] - ends[0][1]) - (ends[1][0] - ends[1][1])) / 2e-6
        assert float(slope[row, column]) == pytest.approx(float(central), rel=1e-6)
