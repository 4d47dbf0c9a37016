"""Numbers of the papers' specification, section 17 F: metrics."""

import random

import pytest

from menura.metrics.catalogue import METRICS
from menura.metrics.hits import HitsAtOne, draw_candidates, rank_of
from menura.metrics.perplexity import Perplexity, perplexity_of
from menura.metrics.score import Sample
from menura.metrics.significance import score
from menura.metrics.word_f1 import normalised, word_f1

NURSE = ("i am a nurse and i love dogs .", "i am a teacher and i love dogs .")
YES = ("yes i do", "no i do not")
RUN = ("i like to run .", "i like to run every day .")
FINE = ("i am fine .", "i am fine thanks .")
BLEUS = ("multi-bleu", "bleu")


def samples_of(*pairs: tuple[str, str]) -> list[Sample]:
    """One dialogue a pair, all of one persona."""
    return [Sample("p", f"d{index}", reply, reference, 1.0, 1) for index, (reply, reference) in enumerate(pairs)]


def figure(name: str, *pairs: tuple[str, str]) -> float:
    """The figure of one metric over these (reply, reference) pairs."""
    return score(METRICS[name], samples_of(*pairs), rounds=1, seed=0).value


@pytest.mark.parametrize("name", BLEUS)
def test_f1_bleu_of_one_line(name: str) -> None:
    assert figure(name, NURSE) == pytest.approx(59.69, abs=0.005)


def test_f1_bleu_counts_its_ngrams() -> None:
    _, _, *counts = METRICS["multi-bleu"].gather(samples_of(NURSE))
    precisions = [100 * match / total for match, total in zip(counts[:4], counts[4:], strict=True)]
    assert precisions == pytest.approx([88.9, 75.0, 57.1, 33.3], abs=0.05)


def test_f1_bleu_without_a_matching_4gram_is_zero() -> None:
    assert figure("multi-bleu", YES) == 0.0


def test_f1_bleu_pools_two_lines() -> None:
    assert figure("multi-bleu", NURSE, YES) == pytest.approx(51.37, abs=0.005)
    replies, references, *_ = METRICS["multi-bleu"].gather(samples_of(NURSE, YES))
    assert 2.718281828459045 ** (1 - references / replies) == pytest.approx(0.920, abs=0.0005)


def test_f1_paml_is_the_mean_over_dialogues() -> None:
    # 29.845 is half of the 59.69 that the script prints; unrounded it is 29.8475.
    assert figure("multi-bleu-paml", NURSE, YES) == pytest.approx(29.845, abs=0.005)


def test_f1_short_replies_pay_the_brevity_penalty() -> None:
    assert figure("multi-bleu", RUN, FINE) == pytest.approx(44.05, abs=0.005)
    replies, references, *_ = METRICS["multi-bleu"].gather(samples_of(RUN, FINE))
    assert 2.718281828459045 ** (1 - references / replies) == pytest.approx(0.717, abs=0.0005)


@pytest.mark.parametrize("name", BLEUS)
def test_f1_bleu_does_not_see_case(name: str) -> None:
    assert figure(name, (NURSE[0].upper(), NURSE[1])) == pytest.approx(figure(name, NURSE), abs=1e-12)


@pytest.mark.parametrize("name", [*BLEUS, "multi-bleu-paml"])
def test_f1_empty_replies_score_zero(name: str) -> None:
    assert figure(name, ("", NURSE[1]), (" ", YES[1])) == 0.0


def test_f2_perplexity_of_two_batches() -> None:
    assert perplexity_of([10, 6], [5, 1], "pooled") == pytest.approx(14.392, abs=0.0005)
    assert perplexity_of([10, 6], [5, 1], "paml") == pytest.approx(54.598, abs=0.0005)
    assert perplexity_of([10, 6], [5, 1], "mean_of_exps") == pytest.approx(205.409, abs=0.0005)


def test_f2_the_metric_agrees_where_a_dialogue_is_a_batch() -> None:
    samples = [Sample("p", "d1", "", "", 10.0, 5), Sample("q", "d2", "", "", 6.0, 1)]
    assert score(Perplexity("token"), samples, rounds=1, seed=0).value == pytest.approx(14.392, abs=0.0005)
    assert score(Perplexity("token", "paml"), samples, rounds=1, seed=0).value == pytest.approx(54.598, abs=0.0005)


def test_f3_dist_1_counts_over_all_replies() -> None:
    assert figure("dist-1", ("i am a nurse .", ""), ("i am a doctor .", "")) == pytest.approx(0.6, abs=1e-12)


def test_f4_word_f1_of_the_hospital() -> None:
    reply, reference = "i am a nurse .", "yes , i am the nurse at a hospital !"
    assert word_f1(reply, reference) == pytest.approx(0.6667, abs=0.00005)
    assert figure("f1", (reply, reference)) == pytest.approx(66.67, abs=0.005)


def test_f4_normaliser() -> None:
    assert " ".join(normalised("I'm a nurse, and the dog's name is Bo!")) == "i m nurse and dog s name is bo"


def ranked(scorer: str, questions: int = 200) -> float:
    """hits@1 in per cent of a made-up scorer over 20 shuffled candidates."""
    rng, pool = random.Random(3), [f"other reply {index}" for index in range(60)]
    samples = []
    for question in range(questions):
        candidates, gold = draw_candidates("what she said", pool, 20, rng)
        best = {"constant": None, "oracle": gold, "second": (gold + 1) % 20}[scorer]
        nats = [1.0 if best is None else 0.0 if index == best else 2.0 for index in range(20)]
        if scorer == "second":
            nats[gold] = 1.0
        samples.append(Sample(f"p{question % 7}", "d", "", "", 1.0, 1, rank_of(nats, gold), len(candidates)))
    return score(HitsAtOne(), samples, rounds=1, seed=0).value


def test_f7_a_constant_scorer_is_no_better_than_chance() -> None:
    assert 0.0 <= ranked("constant") <= 5.0


def test_f7_an_oracle_hits_always() -> None:
    assert ranked("oracle") == 100.0


def test_f7_gold_in_second_place_never_hits() -> None:
    assert ranked("second") == 0.0
