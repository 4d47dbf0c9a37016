"""A persona is recognised when its own person's replies are likelier under it than under all others."""

import numpy
import pytest

from menura.metrics.identification import HeldOutReplies, identified, table


def owners(own: float, *, people: int = 4, generous: float = 0.0) -> list[HeldOutReplies]:
    """Return people with two dialogues of two replies; their own persona changes the NLL by ``own``.

    Persona 0 makes everybody's replies likelier by ``generous`` a token.
    """
    tokens, rng = numpy.array([3, 5, 4, 8]), numpy.random.default_rng(1)
    made = []
    for owner in range(people):
        unadapted = 3.0 * tokens
        nll = numpy.tile(unadapted, (people, 1)) + 0.01 * rng.random((people, 4))
        nll[owner] += own * tokens
        nll[0] -= generous * tokens
        made.append(HeldOutReplies(nll, unadapted, tokens, numpy.array([0, 0, 1, 1])))
    return made


def test_a_person_is_recognised_by_all_dialogues_by_one_and_by_one_reply() -> None:
    found = identified(owners(-0.5))
    assert [(one.by, one.corrected) for one in found] == [
        (by, corrected) for by in ("all dialogues", "one dialogue", "one reply") for corrected in (False, True)
    ]
    for one in found:
        assert (one.top1, one.rank, one.top1_interval, one.rank_interval) == (1.0, 1.0, (1.0, 1.0), (1.0, 1.0))
    for one in identified(owners(0.5)):
        assert (one.top1, one.rank) == (0.0, 4.0)


def test_a_persona_that_flatters_everybody_wins_only_uncorrected() -> None:
    raw, corrected = identified(owners(-0.5, generous=2.0))[:2]
    assert raw.top1 == 0.25
    assert corrected.top1 == 1.0
    assert raw.rank == 1.75


def test_the_score_is_per_token_of_all_replies_together() -> None:
    # Likelier in the short reply, unlikelier in the long one: by tokens, the other persona is right.
    tokens = numpy.array([2, 10])
    own = numpy.array([[1.0, 31.0], [4.0, 20.0]])
    people = [
        HeldOutReplies(own, numpy.array([6.0, 30.0]), tokens, numpy.array([0, 0])),
        HeldOutReplies(own[::-1], numpy.array([6.0, 30.0]), tokens, numpy.array([0, 0])),
    ]
    whole, _, _, _, single, _ = identified(people)
    assert whole.top1 == 0.0
    assert single.top1 == 0.5


def test_personas_that_change_nothing_are_recognised_by_chance() -> None:
    tokens = numpy.array([2, 3])
    people = [
        HeldOutReplies(numpy.tile([4.0, 6.0], (5, 1)), numpy.array([4.0, 6.0]), tokens, numpy.array([0, 1]))
        for _ in range(5)
    ]
    for one in identified(people):
        assert one.rank == 3.0
        assert one.top1 == 0.0


def test_the_interval_is_over_people() -> None:
    mixed = owners(-0.5, people=8)
    for owner in (1, 5):
        mixed[owner].nll[owner] += 5 * mixed[owner].tokens
    whole = identified(mixed)[0]
    assert whole.top1 == 0.75
    low, high = whole.top1_interval
    assert low == pytest.approx(0.5, abs=0.13)
    assert high == 1.0
    assert "75 %" in table({"adapted": [whole]})


def test_a_person_without_replies_is_judged_among_and_not_counted() -> None:
    people = owners(-0.5, generous=2.0)
    silent = numpy.arange(0)
    people[2] = HeldOutReplies(people[2].nll[:, silent], people[2].unadapted[silent], people[2].tokens[silent], silent)
    raw, corrected = identified(people)[:2]
    assert raw.personas == corrected.personas == 4
    assert raw.top1 == pytest.approx(1 / 3), "persona 0 is still likeliest for everybody"
    assert corrected.top1 == 1.0
