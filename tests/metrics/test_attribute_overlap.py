"""Whether a reply tells who speaks."""

import math

import pytest

from menura.metrics.attribute_overlap import AttributeOverlap, says_a_fact
from menura.metrics.score import Sample
from menura.metrics.significance import value_of


def said(reply: str, *facts: str) -> Sample:
    return Sample("p", "d", reply, "", 0.0, 1, facts=facts)


@pytest.mark.parametrize(
    ("reply", "facts", "wanted"),
    [
        ("昨日は東京駅にいた", ("東京の川で舟をこぐ",), True),
        ("ラーメンがいい", ("好物はラーメンとサッカー",), True),
        ("そうですね。", ("東京の川で舟をこぐ。",), False),
        ("My Tulips are out!", ("i grow tulips", "i am a nurse"), True),
        ("i am a person with them", ("i am a person with goats",), True),
        ("i like you with them", ("i like goats with them",), False),
    ],
)
def test_a_piece_that_says_something_is_enough(reply: str, facts: tuple[str, ...], wanted: bool) -> None:
    assert says_a_fact(reply, facts) is wanted


def test_replies_without_facts_are_left_out_and_counted_in_the_signature() -> None:
    samples = [said("tulips", "i grow tulips"), said("no idea", "i grow tulips"), said("tulips")]
    metric = AttributeOverlap()
    assert value_of(metric, samples) == 0.5
    assert metric.signature_of(samples).endswith("|replies:2")
    assert math.isnan(value_of(metric, samples[2:]))
