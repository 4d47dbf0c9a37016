import random
from dataclasses import replace
from typing import Any

import pytest
import torch

from menura.batches.encode import EncodedExchange
from menura.batches.speaker_profile import Lent, Slot, Slots
from menura.models.attention_routing.persona_gate import graded, telling, with_lent_profiles


def exchange(place: int, *, expresses_profile: bool) -> EncodedExchange:
    return EncodedExchange("mira", f"d{place}", (), (4,), (5, 6), expresses_profile=expresses_profile)


def test_a_share_of_the_replies_that_say_nothing_of_their_persona_is_kept_and_all_others() -> None:
    replies = [exchange(place, expresses_profile=place % 10 == 0) for place in range(4000)]
    kept = telling(replies, 0.25, random.Random(3))
    assert [e for e in kept if e.expresses_profile] == [e for e in replies if e.expresses_profile]
    assert sum(not e.expresses_profile for e in kept) / 3600 == pytest.approx(0.25, abs=0.03)
    assert list(kept) == sorted(kept, key=lambda e: int(e.dialogue_id[1:]))


def test_where_no_reply_would_be_left_the_first_is_learnt_from() -> None:
    replies = [exchange(place, expresses_profile=False) for place in range(3)]
    assert telling(replies, 0.0, random.Random(0)) == tuple(replies[:1])


def told(number: int) -> Slots:
    return ((4, (number,)),)


def lent_by(number: int) -> Lent:
    """What is told stands third of ten."""
    tells = (5, (number,))
    return tells, (*((3, (number, place)) for place in range(2)), tells, *((6, (number, place)) for place in range(7)))


def lendable(place: int, **settings: Any) -> EncodedExchange:
    """Said by profile 1 to profile 2; it says something of two others, of each of which two people tell."""
    others = tuple((lent_by(10 * place + about), lent_by(10 * place + about + 1)) for about in (3, 6))
    made = replace(exchange(place, expresses_profile=False), profiles=(told(1), told(2)), lent_profiles=others)
    return replace(made, **settings)


def told_of(exchange: EncodedExchange) -> set[Slot]:
    return {slot for tells in exchange.lent_profiles for slot, _ in tells}


def test_half_of_what_is_lent_tells_of_the_lender_and_half_does_not() -> None:
    replies = [lendable(place) for place in range(2000)]
    found = with_lent_profiles(replies, 0.4, random.Random(2))
    others = [(e, as_lent) for e, as_lent in zip(replies, found, strict=True) if as_lent != e]
    assert len(others) / 2000 == pytest.approx(0.4, abs=0.04)
    assert sum(as_lent.expresses_profile for _, as_lent in others) / len(others) == pytest.approx(0.5, abs=0.05)
    for e, as_lent in others:
        assert as_lent.expresses_profile == bool(told_of(e) & set(as_lent.profiles[0]))
        assert as_lent.profiles[1:] == e.profiles[1:]
        assert as_lent == replace(e, profiles=as_lent.profiles, expresses_profile=as_lent.expresses_profile)
    told = {value[0] % 10 for e, as_lent in others for _, value in told_of(e) & set(as_lent.profiles[0])}
    assert told == {3, 4, 6, 7}


def test_of_a_lent_profile_a_few_slots_are_left_in_their_order_and_always_what_tells() -> None:
    whole = lent_by(7)[1]
    lenders = [
        with_lent_profiles([lendable(1, lent_profiles=((lent_by(7),),))], 1.0, random.Random(seed))[0]
        for seed in range(200)
    ]
    for one in lenders:
        left = one.profiles[0]
        assert whole[2] in left
        assert left == tuple(slot for slot in whole if slot in left)
    assert {len(one.profiles[0]) for one in lenders} == {1, 2, 3, 4, 5, 6}
    assert {slot for one in lenders for slot in one.profiles[0]} == set(whole)


def test_nothing_is_lent_to_whoever_tells_of_himself_or_has_no_profile_or_says_nothing_of_others() -> None:
    replies = [lendable(1, expresses_profile=True), lendable(2, profiles=()), lendable(3, lent_profiles=())]
    assert with_lent_profiles(replies, 1.0, random.Random(0)) == tuple(replies)


def test_whoever_alone_could_be_lent_a_profile_is_lent_one_of_whom_he_tells() -> None:
    (found,) = with_lent_profiles([lendable(1)], 1.0, random.Random(0))
    assert found.expresses_profile


def test_a_graded_strength_is_the_chance_of_its_label_where_both_are_as_many() -> None:
    labels = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat(20_000)
    drawn = graded(labels, random.Random(5))
    assert drawn.dtype == labels.dtype
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) <= 1
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        within = (drawn >= low) & (drawn < low + 0.2)
        assert float(labels[within].mean()) == pytest.approx(low + 0.1, abs=0.02)
