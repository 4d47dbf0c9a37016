"""Ranks, candidates and what is left out."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menura.errors import ConfigError, DataError
from menura.metrics.hits import HitsAtOne, LikelihoodHitsAtOne, MeanReciprocalRank, draw_candidates, rank_of
from menura.metrics.score import Sample
from menura.metrics.significance import score

POOL = [f"line {index}" for index in range(30)]


def ranked(*ranks: int | None, candidates: int = 20) -> list[Sample]:
    """One sample per rank, all of one persona."""
    return [Sample("p", "d", "", "", 1.0, 1, rank, candidates) for rank in ranks]


def test_lower_is_better() -> None:
    assert rank_of([3.0, 1.0, 2.0], gold=1) == 0
    assert rank_of([3.0, 1.0, 2.0], gold=0) == 2


def test_ties_count_against_the_gold() -> None:
    assert rank_of([1.0, 1.0, 2.0], gold=0) == 1
    assert [rank_of([5.0] * 20, gold) for gold in (0, 19)] == [19, 19]


def test_a_score_that_is_no_number_counts_against_the_gold() -> None:
    assert rank_of([math.nan, 1.0, 2.0], gold=0) == 2
    assert rank_of([1.0, math.nan, 2.0], gold=0) == 1


@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=8, unique=True), st.randoms(use_true_random=False))
def test_rank_does_not_depend_on_the_order_of_candidates(scores: list[float], rng: random.Random) -> None:
    order = rng.sample(range(len(scores)), len(scores))
    assert rank_of([scores[index] for index in order], order.index(0)) == rank_of(scores, 0)


def test_candidates_hold_the_reference_where_the_index_says() -> None:
    candidates, gold = draw_candidates("mine", POOL, 20, random.Random(0))
    assert candidates[gold] == "mine"
    assert len(set(candidates)) == 20


def test_the_reference_stands_anywhere() -> None:
    rng = random.Random(1)
    assert {draw_candidates("mine", POOL, 4, rng)[1] for _ in range(100)} == {0, 1, 2, 3}


def test_every_reply_of_the_pool_gets_its_turn() -> None:
    rng = random.Random(2)
    drawn = {reply for _ in range(200) for reply in draw_candidates("mine", POOL, 4, rng)[0]}
    assert drawn == {"mine", *POOL}


def test_same_seed_draws_the_same() -> None:
    draws = [draw_candidates("mine", POOL, 20, random.Random(7)) for _ in range(2)]
    assert draws[0] == draws[1]


def test_distractors_differ_in_more_than_case_and_space() -> None:
    pool = ["MINE", " mine ", "Yours", "yours ", "", "  ", "theirs"]
    for seed in range(20):  # in whatever order the pool comes
        candidates, _ = draw_candidates("mine", pool, 3, random.Random(seed))
        assert sorted(candidate.strip().lower() for candidate in candidates) == ["mine", "theirs", "yours"]


def test_a_small_pool_is_refused_with_its_size() -> None:
    with pytest.raises(DataError, match="2 different replies beside the reference, 19 wanted"):
        draw_candidates("mine", ["a", "b", "B", "Mine"], 20, random.Random(0))


def test_a_pool_just_large_enough_is_used_whole() -> None:
    for seed in range(20):
        assert set(draw_candidates("mine", POOL, 31, random.Random(seed))[0]) == {"mine", *POOL}


def test_one_candidate_is_no_question() -> None:
    with pytest.raises(ConfigError, match="candidates: 1 must be >= 2"):
        draw_candidates("mine", POOL, 1, random.Random(0))


def test_samples_without_a_rank_are_left_out() -> None:
    assert score(HitsAtOne(), ranked(0, 3, None), rounds=5, seed=0).value == 50.0
    assert score(MeanReciprocalRank(), ranked(0, 3, None), rounds=5, seed=0).value == pytest.approx((1 + 1 / 4) / 2)


def test_without_any_rank_nothing_is_said() -> None:
    assert math.isnan(score(HitsAtOne(), ranked(None, None), rounds=5, seed=0).value)


def test_signature_of_a_score_tells_candidates_and_how_many_were_ranked() -> None:
    samples = ranked(0, None) + ranked(4, candidates=5)
    assert score(HitsAtOne(), samples, rounds=5, seed=0).signature.endswith("|candidates:5-20|ranked:2")
    assert "candidates:none|ranked:0" in score(HitsAtOne(), ranked(None), rounds=5, seed=0).signature


def test_the_choice_of_a_head_and_the_likelihood_are_counted_apart() -> None:
    samples = [
        Sample("p", "d", "", "", 1.0, 1, rank, 20, likelihood)
        for rank, likelihood in ((0, 3), (0, 0), (1, None), (None, 0))
    ]
    head, likelihood = HitsAtOne(), LikelihoodHitsAtOne()
    assert head.value([head.gather(samples)]) == pytest.approx(200 / 3)
    assert likelihood.value([likelihood.gather(samples)]) == pytest.approx(200 / 3)
    assert likelihood.value([likelihood.gather(samples[:1])]) == 0
