"""Intervals and tests against cases whose answer is known."""

import math
import random
from dataclasses import replace

import pytest

from menura.errors import ConfigError, DataError
from menura.metrics.catalogue import METRICS
from menura.metrics.distinct import Distinct
from menura.metrics.hits import HitsAtOne
from menura.metrics.perplexity import Perplexity
from menura.metrics.score import Sample
from menura.metrics.significance import (
    RunStatistics,
    bootstrap,
    difference_of_runs,
    paired_difference,
    score,
    score_of_runs,
)
from menura.metrics.word_f1 import WordF1

HITS = HitsAtOne()


def hits_of(personas: int, share: float, each: int = 1) -> list[Sample]:
    """Samples where the first ``share`` of the personas hit always and the others never."""
    return [
        Sample(f"p{persona:03}", f"d{index}", "", "", 1.0, 1, 0 if persona < share * personas else 1, 2)
        for persona in range(personas)
        for index in range(each)
    ]


def surprised(seed: int, shift: float, personas: int = 25) -> list[Sample]:
    """One reference a persona: hard and easy personas, all moved by ``shift`` nats."""
    rng = random.Random(seed)
    return [Sample(f"p{i}", "d", "", "w", 10 * rng.random() + shift + rng.gauss(0, 0.1), 5) for i in range(personas)]


def test_interval_is_as_wide_as_the_binomial_says() -> None:
    low, high = bootstrap(HITS, hits_of(100, 0.5), rounds=2000, seed=0)
    assert (low, high) == pytest.approx((50 - 196 * 0.05, 50 + 196 * 0.05), abs=1.6)


def test_more_replies_of_the_same_personas_promise_no_more() -> None:
    once, often = hits_of(20, 0.5), hits_of(20, 0.5, each=10)
    assert bootstrap(HITS, often, rounds=300, seed=0) == bootstrap(HITS, once, rounds=300, seed=0)


def test_same_seed_same_interval_other_seed_another() -> None:
    samples = surprised(0, 0.0)
    metric = Perplexity("token")
    assert bootstrap(metric, samples, rounds=50, seed=1) == bootstrap(metric, samples, rounds=50, seed=1)
    assert bootstrap(metric, samples, rounds=50, seed=1) != bootstrap(metric, samples, rounds=50, seed=2)


def test_dist_lies_inside_its_interval_although_resamples_repeat_personas() -> None:
    rng = random.Random(4)
    words = [f"w{index}" for index in range(400)]
    samples = [Sample(f"p{i % 30}", "d", " ".join(rng.choices(words, k=8)), "", 1.0, 1) for i in range(90)]
    found = score(Distinct(1), samples, rounds=300, seed=0)
    assert found.low < found.value < found.high


def test_pairing_finds_a_small_difference_among_unequal_personas() -> None:
    ours, theirs = surprised(1, 0.0), surprised(1, 0.5)
    alone = bootstrap(Perplexity("token"), ours, rounds=300, seed=0)
    found = paired_difference(Perplexity("token"), ours, theirs, rounds=300, seed=0)
    assert found.low <= found.value <= found.high < 0
    assert found.high - found.low < (alone[1] - alone[0]) / 4
    assert found.p == pytest.approx(1 / 301)


def test_difference_is_ours_minus_theirs_and_turns_its_sign() -> None:
    ours, theirs = hits_of(10, 0.8), hits_of(10, 0.3)
    there = paired_difference(HITS, ours, theirs, rounds=100, seed=0)
    back = paired_difference(HITS, theirs, ours, rounds=100, seed=0)
    assert there.value == pytest.approx(50.0)
    assert (back.value, back.p) == (-there.value, there.p)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))


def test_p_is_the_share_of_swaps_as_large() -> None:
    # 5 personas, all better by as much: only the 2 of 32 swaps that swap all or none are as large.
    found = paired_difference(HITS, hits_of(5, 1.0), hits_of(5, 0.0), rounds=4000, seed=0)
    assert found.p == pytest.approx(2 / 32, abs=0.012)


def test_p_is_seldom_small_where_nothing_differs() -> None:
    metric = WordF1()
    small = 0
    for trial in range(60):
        rng = random.Random(trial)
        ours = [Sample(f"p{i}", "d", rng.choice(("tea", "no")), "tea", 1.0, 1) for i in range(12)]
        theirs = [replace(sample, reply=rng.choice(("tea", "no"))) for sample in ours]
        small += paired_difference(metric, ours, theirs, rounds=100, seed=trial).p < 0.05
    assert small <= 8


def test_a_difference_shows_where_two_sides_were_not_measured_alike() -> None:
    ours = hits_of(4, 0.5)
    theirs = [replace(sample, candidates=20) for sample in ours]
    assert paired_difference(HITS, ours, ours, rounds=5, seed=0).signature == score(HITS, ours, seed=0).signature
    signature = paired_difference(HITS, ours, theirs, rounds=5, seed=0).signature
    assert "candidates:2|" in signature
    assert "candidates:20|" in signature


def test_personas_of_one_side_only_are_all_named() -> None:
    with pytest.raises(DataError) as caught:
        paired_difference(HITS, hits_of(4, 0.5), hits_of(2, 0.5), rounds=10, seed=0)
    assert [problem.message[:14] for problem in caught.value.problems] == ["persona 'p002'", "persona 'p003'"]


def test_no_rounds_is_refused() -> None:
    with pytest.raises(ConfigError, match="rounds: 0 must be >= 1"):
        bootstrap(HITS, hits_of(4, 0.5), rounds=0, seed=0)


def test_an_infinite_perplexity_has_an_interval() -> None:
    samples = [*surprised(0, 0.0, personas=3), Sample("q", "d", "", "w", 1e9, 1)]
    found = score(METRICS["ppl"], samples, rounds=100, seed=0)
    assert found.value == found.high == math.inf
    assert not math.isnan(found.low)


def test_personas_without_ranks_do_not_spoil_the_interval() -> None:
    samples = [Sample("p0", "d", "", "", 1.0, 1, 0, 2), *(Sample(f"q{i}", "d", "", "", 1.0, 1) for i in range(3))]
    found = score(HITS, samples, rounds=100, seed=0)
    assert (found.value, found.low, found.high) == (100.0, 100.0, 100.0)


def runs_of(metric: HitsAtOne, shares: list[list[float]]) -> list[RunStatistics]:
    """One run for each list, in which each persona has 100 ranked replies, a share of them at first place."""
    return [
        RunStatistics(tuple(f"p{i:03}" for i in range(len(run))), tuple((100 * share, 100.0) for share in run), 100)
        for run in shares
    ]


def test_one_run_has_the_interval_of_its_samples() -> None:
    samples = hits_of(30, 0.4)
    gathered = tuple(HITS.gather([sample]) for sample in samples)
    run = RunStatistics(tuple(sample.persona_id for sample in samples), gathered, len(samples))
    assert score_of_runs(HITS, [run], signature=HITS.signature_of(samples), seed=3) == score(HITS, samples, seed=3)


def test_seeds_that_differ_widen_the_interval_by_what_the_mean_of_so_few_varies() -> None:
    # All personas alike within a seed: nothing but the seeds varies, with a standard error of s / sqrt(3).
    shares = [[0.4] * 20, [0.5] * 20, [0.6] * 20]
    found = score_of_runs(HITS, runs_of(HITS, shares), signature="", rounds=20_000, seed=0)
    assert found.value == pytest.approx(50)
    drawn = (found.high - found.low) / 2
    assert drawn == pytest.approx(10 * math.sqrt(3 / 2), rel=0.01)  # the extreme draws: one seed three times
    alike = score_of_runs(HITS, runs_of(HITS, [[0.5] * 20] * 3), signature="", rounds=500, seed=0)
    assert (alike.low, alike.high) == (50, 50)


def test_the_variance_over_seeds_is_that_of_their_mean() -> None:
    rng = random.Random(0)
    seeds = [rng.gauss(0.5, 0.05) for _ in range(8)]
    found = score_of_runs(HITS, runs_of(HITS, [[s] * 4 for s in seeds]), signature="", rounds=20_000, seed=0)
    mean = sum(seeds) / 8
    error = 100 * math.sqrt(sum((s - mean) ** 2 for s in seeds) / 7 / 8)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.06)


def test_a_difference_is_paired_by_seed_as_well_as_by_persona() -> None:
    # Seeds differ by far more than the systems do, but in each of them ours is better by the same.
    theirs = [[0.2 + 0.01 * i for i in range(20)], [0.6 + 0.01 * i for i in range(20)]]
    ours = [[share + 0.05 for share in run] for run in theirs]
    found = difference_of_runs(
        HITS, runs_of(HITS, ours), runs_of(HITS, theirs), signatures=("a", "a"), rounds=400, seed=0
    )
    assert (found.low, found.value, found.high) == pytest.approx((5, 5, 5))
    assert found.p == pytest.approx(1 / 401)
    assert found.signature == "a"


def test_runs_of_different_personas_are_refused_by_name() -> None:
    runs = [*runs_of(HITS, [[0.5] * 3]), *runs_of(HITS, [[0.5] * 4])]
    with pytest.raises(DataError, match="p003"):
        score_of_runs(HITS, runs, signature="", seed=0)
