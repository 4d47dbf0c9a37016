"""A fact is recalled where a telling word of the answer, not of the question, is in the reply."""

import math

import pytest

from menura.metrics.recalled_facts import RecalledFacts
from menura.metrics.score import Sample


def sample(question: str, answer: str, reply: str) -> Sample:
    return Sample("ann", "fact:d0", reply, answer, 1.0, 1, context=(("you", question),))


@pytest.mark.parametrize(
    ("question", "answer", "reply", "recalled"),
    [
        ("do you have any pets?", "two grey cats", "Yes, CATS", 1),
        ("do you have any pets?", "two grey cats", "yes, two dogs", 0),  # a common word tells nothing
        ("how old are you?", "34", "i am 34!", 1),
        ("what are you into?", "chess pieces", "what are you into?", 0),
        ("do you play chess?", "chess", "chess", None),  # the question gives it away
    ],
)
def test_only_a_telling_word_of_the_answer_counts(question: str, answer: str, reply: str, recalled: int | None) -> None:
    expected = (0, 0) if recalled is None else (recalled, 1)
    assert RecalledFacts().gather([sample(question, answer, reply)]) == expected


def test_every_persona_with_an_answer_weighs_the_same() -> None:
    metric = RecalledFacts()
    assert metric.value([(1, 1), (0, 3), (0, 0)]) == 50.0
    assert math.isnan(metric.value([(0, 0)]))
