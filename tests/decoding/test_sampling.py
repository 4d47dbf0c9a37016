import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import MinPLogitsWarper, RepetitionPenaltyLogitsProcessor

from menura.decoding.sampling import FIRST_LOOK, Choice, Greedy, MinP, Nucleus, Penalised, TopK, uniforms
from menura.errors import ConfigError

CHOICES = [Greedy(), Nucleus(0.9), Nucleus(1.0), Nucleus(0.5, 2.0), TopK(1), TopK(3), TopK(1000, 0.7)]
CHOICES += [MinP(0.05), MinP(0.3, 2.0), MinP(1.0), Penalised(Nucleus(0.9), 1.3)]
every_choice = pytest.mark.parametrize("choice", CHOICES, ids=lambda c: c.signature)
seeds = st.integers(0, 2**31)
shares = st.floats(0.01, 1.0)


def drawn(rows: int, vocabulary: int, seed: int, spread: float = 2.0) -> Tensor:
    """Return random log-probabilities (B, V)."""
    stream = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(rows, vocabulary, generator=stream, dtype=torch.float64)).log_softmax(-1)


def numbers(rows: int, seed: int) -> Tensor:
    return torch.rand(rows, generator=torch.Generator().manual_seed(seed + 1))


def sorted_choice(log_probs: Tensor, uniform: Tensor, p: float) -> list[int]:
    """Choose by the words of the definition, a full sort and a plain loop."""
    chosen = []
    for row, number in zip(log_probs.exp().tolist(), uniform.tolist(), strict=True):
        kept: list[int] = []
        for token in sorted(range(len(row)), key=lambda token: -row[token]):
            kept.append(token)
            if sum(row[i] for i in kept) >= p:
                break
        point, running = number * sum(row[i] for i in kept), 0.0
        for token in kept:
            running += row[token]
            if running > point:
                break
        chosen.append(token)
    return chosen


@given(seeds, shares, st.integers(2, 40))
def test_the_nucleus_is_what_its_definition_says(seed: int, p: float, vocabulary: int) -> None:
    log_probs, uniform = drawn(4, vocabulary, seed), numbers(4, seed)
    assert Nucleus(p).choose(log_probs, uniform).tolist() == sorted_choice(log_probs, uniform, p)


@given(seeds, st.floats(0.3, 1.0))
def test_a_flat_distribution_over_many_tokens_falls_back_to_the_full_sort(seed: int, p: float) -> None:
    vocabulary = 3 * FIRST_LOOK
    log_probs, uniform = drawn(2, vocabulary, seed, spread=0.3), numbers(2, seed)
    assert bool((log_probs.exp().topk(FIRST_LOOK).values.sum(-1) < 0.6).all())
    assert Nucleus(p).choose(log_probs, uniform).tolist() == sorted_choice(log_probs, uniform, p)


def test_a_flat_distribution_reaches_tokens_beyond_the_first_look() -> None:
    count = 5 * FIRST_LOOK
    log_probs = drawn(1, count, 0, spread=0.01).expand(2000, -1)
    uniform = (torch.arange(2000) + 0.5) / 2000
    assert len(set(Nucleus(1.0).choose(log_probs, uniform).tolist())) > 4 * FIRST_LOOK


@given(seeds)
def test_a_row_that_needs_the_full_sort_changes_no_other_row(seed: int) -> None:
    sharp, flat = drawn(3, 900, seed, spread=8.0).round(), torch.full((1, 900), 1 / 900, dtype=torch.float64).log()
    log_probs, uniform = torch.cat([sharp, flat]), numbers(4, seed)
    together = Nucleus(0.9).choose(log_probs, uniform)
    assert together[:3].tolist() == Nucleus(0.9).choose(sharp, uniform[:3]).tolist()
    assert together[3:].tolist() == Nucleus(0.9).choose(flat, uniform[3:]).tolist()


@given(seeds, st.integers(2, 600))
def test_a_vanishing_share_or_one_token_is_greedy(seed: int, vocabulary: int) -> None:
    log_probs, uniform = drawn(3, vocabulary, seed), numbers(3, seed)
    greedy = Greedy().choose(log_probs, uniform).tolist()
    assert greedy == log_probs.argmax(-1).tolist()
    assert Nucleus(1e-9).choose(log_probs, uniform).tolist() == greedy
    assert TopK(1).choose(log_probs, uniform).tolist() == greedy


@given(seeds, st.integers(2, 600), st.sampled_from([Greedy(), Nucleus(0.8), Nucleus(1.0, 2.0), TopK(7, 0.5)]))
def test_a_constant_added_to_a_rows_scores_changes_no_choice(seed: int, vocabulary: int, choice: Choice) -> None:
    log_probs, uniform = drawn(3, vocabulary, seed), numbers(3, seed)
    moved = log_probs + torch.tensor([[3.0], [-40.0], [700.0]])
    assert choice.choose(moved, uniform).tolist() == choice.choose(log_probs, uniform).tolist()


@given(seeds, st.integers(2, 600))
def test_the_whole_share_or_all_tokens_is_full_sampling(seed: int, vocabulary: int) -> None:
    log_probs, uniform = drawn(3, vocabulary, seed), numbers(3, seed)
    assert Nucleus(1.0).choose(log_probs, uniform).tolist() == TopK(vocabulary).choose(log_probs, uniform).tolist()
    assert Nucleus(1.0).choose(log_probs, uniform).tolist() == sorted_choice(log_probs, uniform, 2.0)


@given(seeds, st.integers(1, 30))
def test_top_k_draws_only_from_the_k_likeliest(seed: int, k: int) -> None:
    log_probs = drawn(1, 30, seed).expand(200, -1)
    found = set(TopK(k).choose(log_probs, (torch.arange(200) + 0.5) / 200).tolist())
    assert found <= set(log_probs[0].topk(k).indices.tolist())
    assert int(log_probs[0].argmax()) in found


def test_top_k_draws_in_proportion() -> None:
    log_probs = torch.tensor([[0.4, 0.1, 0.3, 0.2]]).log().expand(9000, -1)
    found = TopK(2).choose(log_probs, (torch.arange(9000) + 0.5) / 9000)
    assert float((found == 0).double().mean()) == pytest.approx(4 / 7, abs=1e-3)
    assert float((found == 2).double().mean()) == pytest.approx(3 / 7, abs=1e-3)


@pytest.mark.parametrize("kind", [Nucleus, TopK])
def test_temperature_flattens_before_the_cut(kind: Any) -> None:
    log_probs, uniform = drawn(1, 20, 3).expand(2000, -1), (torch.arange(2000) + 0.5) / 2000
    whole = {Nucleus: 1.0, TopK: 20}[kind]
    shares = torch.bincount(kind(whole, temperature=2.0).choose(log_probs, uniform), minlength=20) / 2000
    assert shares.tolist() == pytest.approx((log_probs[0] / 2).softmax(-1).tolist(), abs=2e-3)
    cold = kind(whole, temperature=1e-3).choose(log_probs, uniform)
    assert set(cold.tolist()) == {int(log_probs[0].argmax())}


@every_choice
@given(seeds)
def test_a_row_does_not_depend_on_its_neighbours(choice: Choice, seed: int) -> None:
    log_probs, uniform = drawn(5, 700, seed, spread=1.5).float(), numbers(5, seed)
    alone = [int(choice.choose(log_probs[i : i + 1], uniform[i : i + 1])) for i in range(5)]
    assert choice.choose(log_probs, uniform).tolist() == alone
    assert choice.choose(log_probs.flip(0), uniform.flip(0)).tolist() == alone[::-1]


@every_choice
@pytest.mark.parametrize("number", [0.0, 1 - 2**-24])
def test_the_ends_of_the_random_numbers_choose_tokens_that_can_be(choice: Choice, number: float) -> None:
    log_probs = torch.tensor([[0.6, 0.0, 0.4, 0.0]]).log()
    assert int(choice.choose(log_probs, torch.tensor([number]))) in {0, 2}


@every_choice
def test_a_certain_token_is_chosen(choice: Choice) -> None:
    log_probs = torch.full((1, 600), -torch.inf)
    log_probs[0, 599] = 0.0
    assert int(choice.choose(log_probs, torch.tensor([0.5]))) == 599


def test_of_equals_greedy_takes_the_lowest() -> None:
    assert Greedy().choose(torch.zeros(1, 5000), torch.zeros(1)).tolist() == [0]


def test_signatures_tell_choices_apart() -> None:
    assert len({choice.signature for choice in CHOICES}) == len(CHOICES)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Nucleus, {"p": 0.0}),
        (Nucleus, {"p": 1.01}),
        (Nucleus, {"p": float("nan")}),
        (Nucleus, {"temperature": 0.0}),
        (TopK, {"k": 0}),
        (TopK, {"temperature": -1.0}),
    ],
)
def test_a_choice_that_keeps_nothing_is_refused(kind: Any, settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        kind(**settings)


@given(seeds, st.integers(0, 20), st.integers(0, 20))
def test_a_longer_stream_begins_like_the_shorter_one(seed: int, short: int, more: int) -> None:
    assert torch.equal(uniforms(seed, short + more)[:short], uniforms(seed, short))


def test_streams_of_two_seeds_differ_and_touch_no_other() -> None:
    before = torch.get_rng_state()
    assert not torch.equal(uniforms(1, 8), uniforms(2, 8))
    assert torch.equal(torch.get_rng_state(), before)


@given(seeds, st.floats(0.01, 1.0), st.integers(2, 600), st.sampled_from([0.5, 1.0, 2.0]))
def test_min_p_keeps_what_transformers_keeps(seed: int, p: float, vocabulary: int, temperature: float) -> None:
    scores = drawn(3, vocabulary, seed)
    kept = MinPLogitsWarper(p)(torch.zeros(3, 1, dtype=torch.long), scores) > -math.inf
    every = (torch.arange(400) + 0.5) / 400
    chosen = [set(MinP(p, temperature).choose(row.expand(400, -1), every).tolist()) for row in scores]
    for row, ids in enumerate(chosen):
        likely = (scores[row] / temperature).masked_fill(~kept[row], -math.inf).softmax(-1)
        assert kept[row][sorted(ids)].all()
        assert {int(token) for token in (likely > 1 / 200).nonzero()} <= ids


@given(seeds, st.floats(1.0, 3.0), st.integers(2, 60))
def test_tokens_of_the_reply_become_less_likely_as_in_transformers(seed: int, penalty: float, vocabulary: int) -> None:
    log_probs = drawn(3, vocabulary, seed)
    written = torch.randint(vocabulary, (3, 5), generator=torch.Generator().manual_seed(seed))
    expected = RepetitionPenaltyLogitsProcessor(penalty)(written, log_probs)
    torch.testing.assert_close(Penalised(Greedy(), penalty).penalised(log_probs + 7, written), expected)


@pytest.mark.parametrize("wrong", [lambda: MinP(0.0), lambda: MinP(1.5), lambda: Penalised(Greedy(), 0.9)])
def test_shares_and_penalties_that_are_none_are_refused(wrong: Callable[[], Choice]) -> None:
    with pytest.raises(ConfigError):
        wrong()
