"""A persona's replies are held against the person's own turns: how long, how loud, with which words."""

import math

import pytest

from menura.metrics.catalogue import named
from menura.metrics.score import Sample
from menura.metrics.style import OwnWords, StyleDistance


def samples(*pairs: tuple[str, str]) -> list[Sample]:
    return [Sample("ann", "d", reply, reference, 1.0, 1) for reply, reference in pairs]


def test_each_feature_is_the_distance_of_all_replies_from_all_turns() -> None:
    one = samples(("HI there", "well, no! \N{SPARKLES}"), ("ok", "I see you, all of you."))
    wanted = {
        "length": abs((2 + 1) / 2 - (2 + 6) / 2),
        "capitals": 100 * abs(2 / 9 - 1 / 21),
        "punctuation": 100 * abs(0 / 10 - 4 / 33),
        "emoji": 0.5,
    }
    for feature, distance in wanted.items():
        metric = StyleDistance(feature)  # type: ignore[arg-type]
        assert metric.value([metric.gather(one)]) == pytest.approx(distance), feature


def test_the_mean_is_over_people_so_that_one_may_not_make_up_for_another() -> None:
    metric = StyleDistance("length")
    long, short = samples(("a b c d", "a b")), samples(("a", "a b c"))
    assert metric.value([metric.gather(long), metric.gather(short)]) == 2.0
    assert metric.value([metric.gather(samples(("a b c", "x y z")))]) == 0.0


def test_own_words_are_those_that_the_person_uses_too() -> None:
    metric = OwnWords()
    both = samples(("My goat, my clock.", "the GOAT sleeps"), ("nothing", "my word"))
    assert metric.value([metric.gather(both)]) == pytest.approx(100 * 2 / 4)
    assert metric.value([metric.gather(samples(("", "my word")))]) == 0.0


def test_nobody_has_no_style() -> None:
    for metric in named(("style-length", "style-capitals", "style-punctuation", "style-emoji", "own-words")):
        assert math.isnan(metric.value([]))
        assert metric.signature
