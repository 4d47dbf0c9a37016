"""Numbers of the papers' specification, section 17 F: metrics."""

import math
import random
from itertools import combinations

import pytest
import torch
from torch import Tensor

from menura.adaptation.weight_distance import Distances, WeightDistances
from menura.metrics.catalogue import METRICS
from menura.metrics.hits import HitsAtOne, draw_candidates, rank_of
from menura.metrics.perplexity import Perplexity, perplexity_of
from menura.metrics.score import Sample
from menura.metrics.significance import score
from menura.metrics.word_f1 import normalised, word_f1
from menura.scorers.entailment import VERDICTS

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


def distances(start: Tensor, adapted: list[Tensor]) -> Distances:
    drift = WeightDistances(start.numel())
    for weights in adapted:
        drift.add({"w": start}, {"w": weights})
    found = drift.distances()
    assert found is not None
    return found


def test_what_is_not_known_of_distances_is_not_said() -> None:
    assert WeightDistances(4).distances() is None
    alone = distances(torch.zeros(4), [torch.ones(4)])
    assert "nan" not in alone.said
    assert "Diff" not in alone.said


def test_f6_three_vectors_are_this_far_apart() -> None:
    vectors = [*torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 1]])]
    found = distances(torch.zeros(4), vectors)
    assert found.diff_l2 == pytest.approx(0.40653, abs=5e-6)
    assert found.diff_sq == pytest.approx(2 / 3, abs=1e-9)
    pairs = [distances(torch.zeros(4), [*pair]) for pair in combinations(vectors, 2)]
    assert [pair.diff_l2 for pair in pairs] == pytest.approx([0.35355, 0.43301, 0.43301], abs=5e-6)
    assert [pair.diff_sq for pair in pairs] == pytest.approx([0.5, 0.75, 0.75], abs=1e-9)


def test_f6_of_orthogonal_steps_diff_is_twice_delta_squared_and_root_two_of_it_otherwise() -> None:
    start = torch.randn(16, generator=torch.Generator().manual_seed(0))
    found = distances(start, [start + 0.1 * step for step in torch.eye(16)])
    assert found.diff_sq / found.delta_sq == pytest.approx(2, rel=1e-5)
    assert found.diff_l2 / found.delta_l2 == pytest.approx(math.sqrt(2), rel=1e-5)


def test_f6_who_did_not_move_is_at_no_distance() -> None:
    start = torch.ones(4)
    found = distances(start, [start.clone(), start.clone()])
    assert (found.delta_sq, found.diff_sq, found.delta_l2, found.diff_l2) == (0.0, 0.0, 0.0, 0.0)


def consistency(name: str, *labels: tuple[str, ...]) -> float:
    """The figure of one reply each, judged on a persona's sentences by these labels."""
    names = {"E": "entailment", "N": "neutral", "C": "contradiction"}
    nli_labels = [tuple(VERDICTS[names[letter]] for letter in row) for row in labels]
    samples = [
        Sample(f"p{n}", "d", "", "", 1.0, 1, facts=("",) * len(row), nli_labels=row) for n, row in enumerate(nli_labels)
    ]
    return score(METRICS[name], samples, rounds=1, seed=0).value


def test_f5_c_sums_the_labels_of_a_reply() -> None:
    assert consistency("c-score", ("E", "N", "C", "E")) == 1.0


def test_f5_c_is_the_mean_over_replies() -> None:
    assert consistency("c-score", ("E", "N", "C", "E"), ("C", "C", "N"), ("E", "E", "E", "E", "E")) == 4 / 3


def test_f5_c_of_neutral_labels_is_zero() -> None:
    assert consistency("c-score", ("N", "N", "N", "N"), ("N", "N")) == 0.0


def test_f5_c_lies_between_minus_and_plus_the_sentences() -> None:
    assert [consistency("c-score", (label,) * 5) for label in "EC"] == [5.0, -5.0]
    assert [consistency("c-mean", (label,) * 5) for label in "EC"] == [1.0, -1.0]


def ranked(scorer: str, questions: int = 200) -> float:
    """hits@1 in per cent of a made-up scorer over 20 shuffled candidates."""
    rng, pool = random.Random(3), [f"other reply {index}" for index in range(60)]
    samples = []
    for question in range(questions):
        candidates, gold = draw_candidates("what she said", pool, 20, rng)
        best = {"constant": None, "oracle": gold, "second": (gold + 1) % 20}[scorer]
        nll = [1.0 if best is None else 0.0 if index == best else 2.0 for index in range(20)]
        if scorer == "second":
            nll[gold] = 1.0
        samples.append(Sample(f"p{question % 7}", "d", "", "", 1.0, 1, rank_of(nll, gold), len(candidates)))
    return score(HitsAtOne(), samples, rounds=1, seed=0).value


def test_f7_a_constant_scorer_is_no_better_than_chance() -> None:
    assert 0.0 <= ranked("constant") <= 5.0


def test_f7_an_oracle_hits_always() -> None:
    assert ranked("oracle") == 100.0


def test_f7_gold_in_second_place_never_hits() -> None:
    assert ranked("second") == 0.0
