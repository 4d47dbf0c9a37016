"""The C score and E-acc by hand."""

import math

import pytest

from menura.metrics.catalogue import METRICS
from menura.metrics.consistency import lexical_verdict
from menura.metrics.score import Sample
from menura.metrics.significance import score, wilson


def judged(*nli_labels: tuple[int, ...]) -> list[Sample]:
    """One reply each with the verdicts on its facts."""
    return [
        Sample(f"p{n % 2}", "d", "r", "r", 1.0, 1, facts=("f",) * len(row), nli_labels=row, entailed_by="one")
        for n, row in enumerate(nli_labels)
    ]


def figure(name: str, samples: list[Sample]) -> float:
    return score(METRICS[name], samples, rounds=1, seed=0).value


def test_the_three_figures_of_the_same_verdicts() -> None:
    samples = judged((1, 1, 0, -1), (0, 0), (-1, -1, 1, 0, 0))
    assert figure("c-score", samples) == pytest.approx((1 + 0 - 1) / 3)
    assert figure("c-mean", samples) == pytest.approx(0 / 11)
    assert figure("c-contradictions", samples) == pytest.approx(100 * 3 / 11)


def test_a_reply_without_facts_is_left_out() -> None:
    assert figure("c-score", [*judged((1, 1)), Sample("p0", "d", "r", "r", 1.0, 1)]) == 2.0
    assert math.isnan(figure("c-mean", [Sample("p0", "d", "r", "r", 1.0, 1)]))


def test_the_signature_names_the_scorer_and_how_many_replies_it_judged() -> None:
    signature = score(METRICS["c-score"], judged((1,), (0,)), rounds=1, seed=0).signature
    assert signature == "c-score|entailed:+1|neutral:0|contradicted:-1|verdicts:one|replies:2"


def test_shared_words_are_told_from_a_scorer_s_verdicts() -> None:
    samples = [Sample("p", "d", "i love my goat fern", "", 1.0, 1, facts=("my goat is called fern.", "i am a pilot."))]
    assert figure("c-score-lexical", samples) == 1.0
    assert math.isnan(figure("c-score", samples))
    signature = score(METRICS["c-score-lexical"], samples, rounds=1, seed=0).signature
    assert "verdicts:lexical, no trained scorer" in signature


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("i like to ski in winter", 1),
        ("I don't like to ski in winter.", -1),
        ("i never ski", -1),
        ("i like cake", 0),
        ("", 0),
    ],
)
def test_shared_words_agree_or_contradict(reply: str, verdict: int) -> None:
    assert lexical_verdict(reply, "i like to ski.") == verdict


def test_two_negations_agree() -> None:
    assert lexical_verdict("no meat for me", "i do not eat meat.") == 1


def test_a_fact_of_common_words_alone_says_nothing() -> None:
    assert lexical_verdict("i am very there", "i am.") == 0


def guessed(*ranks: tuple[int, int]) -> list[Sample]:
    """One reply each with the places of its emoji, among all and within some."""
    return [
        Sample("😀", f"d{n}", "r", "r", 1.0, 1, emoji_rank=rank, emoji_rank_within=within, emojis=8, classified_by="c")
        for n, (rank, within) in enumerate(ranks)
    ]


def test_e_acc_counts_the_first_the_first_five_and_the_first_of_the_personas() -> None:
    samples = guessed((0, 0), (4, 0), (5, 1), (30, 0))
    assert [figure(name, samples) for name in ("e-acc", "e-acc-5", "e-acc-within")] == [25.0, 50.0, 75.0]
    assert score(METRICS["e-acc-within"], samples, rounds=1, seed=0).signature == (
        "e-acc-within|top:1|among:personas|emojis:8|classifier:c|replies:4"
    )


def test_wilson_s_interval_of_known_shares() -> None:
    # Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    known = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0, 0.1611), (1, 29): (0.0061, 0.1718)}
    for (hits, total), interval in known.items():
        assert wilson(hits, total) == pytest.approx(interval, abs=5e-5)
    assert wilson(0, 0) == (0.0, 1.0)
