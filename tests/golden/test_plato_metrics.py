"""Numbers of PLATO's specification: metrics as its tables were made."""

import math
import random
from dataclasses import replace

import pytest

from menura.annotation.agreement import counted, fleiss_kappa, majority, system_score
from menura.errors import ConfigError
from menura.metrics import meteor_jar
from menura.metrics.catalogue import METRICS, named
from menura.metrics.knowledge import Knowledge, overlap
from menura.metrics.rouge import rouge_l
from menura.metrics.score import Sample
from menura.metrics.significance import value_of
from menura.metrics.smoothed_bleu import sentence_bleu

ROWS = (
    ("we ride grey horses", "we ride grey horses near water", (0.8087, 0.7382), (0.6065, 0.6065)),
    (
        "we ride horses near the lake , it is calm .",
        "we ride horses near the lake , it is a very calm place .",
        (0.9643, 0.8343),
        (0.7613, 0.6809),
    ),
    ("we ride grey horses", "we ride grey horses", (1.3333, 1.2172), (1.0, 1.0)),
    ("birds sing", "two birds fly", (0.4184, 0.2591), (0.3033, 0.0)),
    ("calm lake here today", "the lake is calm", (0.6821, 0.4165), (0.5, 0.0)),
    ("no", "yes we do", (0.0, 0.0), (0.0, 0.0)),
)
DOOR = ("she opens the red door and walks outside", "she opens a door then walks out")
DOGS = ("two dogs run in the snow", "a pair of dogs run through snow")
CAPTIONS = (("she opens the door and walks out", DOOR), ("two dogs run through snow", DOGS))


def said(reply: str, *references: str, persona: str = "p") -> Sample:
    return Sample(persona, "d", reply, references[0] if references else "", 0.0, 1, references=references)


def captions() -> list[Sample]:
    return [said(reply, *references, persona=str(place)) for place, (reply, references) in enumerate(CAPTIONS)]


def value(metric: str, samples: list[Sample]) -> float:
    return value_of(METRICS[metric], samples)


@pytest.mark.parametrize(("reply", "reference", "smoothed", "plain"), ROWS)
def test_m1_bleu_by_chen_and_cherry_s_method_7_and_without_smoothing(
    reply: str, reference: str, smoothed: tuple[float, float], plain: tuple[float, float]
) -> None:
    for order, wanted, raw in zip((1, 2), smoothed, plain, strict=True):
        assert value(f"bleu-{order}-chencherry", [said(reply, reference)]) == pytest.approx(wanted, abs=5e-5)
        assert sentence_bleu(reply, [reference], order, 0) == pytest.approx(raw, abs=5e-5)


def test_m2_distinct_over_all_replies_and_within_each() -> None:
    samples = [said("we ride grey we ride"), said("we ride grey")]
    found = {
        name: value(name, samples) for name in ("dist-1", "dist-2", "dist-2-words", "dist-1-intra", "dist-2-intra")
    }
    assert found == pytest.approx(
        {"dist-1": 0.375, "dist-2": 0.5, "dist-2-words": 0.375, "dist-1-intra": 0.8, "dist-2-intra": 0.875}
    )


def test_m3_knowledge_of_the_facts_by_words_that_say_something() -> None:
    facts = ("i grow roses .", "my cat is grey .", "i teach maths at school .")
    stop = ["i", "my", "is", "at", "are", "them", ",", "."]
    found = overlap("roses are hard , my cat eats them at school", facts, stop)
    assert found == pytest.approx({"recall": 3 / 7, "precision": 3 / 5, "f1": 0.5})


def test_m3_is_averaged_over_replies_and_one_that_shares_nothing_counts() -> None:
    facts = ("i grow roses .",)
    samples = [replace(said(reply), facts=facts) for reply in ("roses grow", "no idea", "roses wilt")]
    assert value("knowledge-f1", samples) == pytest.approx((1 + 0 + 0.5) / 3)
    assert value_of(Knowledge("f1"), [*samples, said("no facts here")]) == value("knowledge-f1", samples)


def test_m4_the_captions_score_as_the_coco_tools_score_them() -> None:
    wanted = (0.9200, 0.8728, 0.7595, 0.5091)
    for order, bleu in enumerate(wanted, start=1):
        assert value(f"coco-bleu-{order}", captions()) == pytest.approx(bleu, abs=5e-5)
    assert value("rouge-l", captions()) == pytest.approx(0.7530, abs=5e-5)
    assert [rouge_l(*one) for one in CAPTIONS] == pytest.approx([0.7905, 0.7155], abs=5e-5)
    assert value("cider-d", captions()) == pytest.approx(4.0651, abs=5e-5)


def test_m4_cider_of_one_reply_alone_is_nothing() -> None:
    assert value("cider-d", captions()[:1]) == 0.0


@pytest.mark.slow
def test_m4_meteor_by_its_own_program() -> None:
    try:
        (meteor,) = named(["meteor"])
    except ConfigError as error:
        pytest.skip(f"METEOR's program is not on this machine: {error}")
    assert value_of(meteor, captions()) == pytest.approx(0.4096, abs=5e-5)
    each = [value_of(meteor, [sample]) for sample in captions()]
    assert each == pytest.approx([0.4218, 0.3990], abs=5e-5)
    assert isinstance(meteor, meteor_jar.Meteor)


def test_m5_kappa_of_four_items_and_three_raters() -> None:
    rows = [[3, 0, 0], [0, 3, 0], [2, 1, 0], [1, 1, 1]]
    assert fleiss_kappa(rows) == pytest.approx(0.26829, abs=5e-6)
    votes = [[0, 0, 0], [1, 1, 1], [0, 1, 0], [2, 0, 1]]
    assert counted(votes) == rows
    assert [majority(each) for each in votes] == [0, 1, 0, 1]
    assert system_score(votes) == 0.5


@pytest.mark.parametrize("metric", ["ppl", "ppl-word", "ppl-char", "ppl-posterior", "ppl-best"])
def test_m8_perplexity_does_not_depend_on_how_references_are_batched(metric: str) -> None:
    rng = random.Random(3)
    samples = [
        Sample(f"p{rng.randrange(4)}", "d", "", "so it is", rng.uniform(1, 40), rng.randrange(2, 12)) for _ in range(60)
    ]
    samples = [replace(s, posterior_nll=s.reference_nll - 0.5, best_nll=s.reference_nll - 1) for s in samples]
    made = METRICS[metric]
    whole = value_of(made, samples)
    assert value_of(made, rng.sample(samples, len(samples))) == whole
    sizes = [
        made.value([made.gather(samples[start : start + size]) for start in range(0, 60, size)]) for size in (1, 7)
    ]
    assert sizes == pytest.approx([whole, whole], rel=1e-12)


def test_m8_perplexity_is_one_ratio_and_no_mean_of_ratios() -> None:
    samples = [Sample("p", "d", "", "a", 2.0, 1), Sample("q", "d", "", "a", 2.0, 3)]
    assert value("ppl", samples) == pytest.approx(math.exp(4 / 4))
