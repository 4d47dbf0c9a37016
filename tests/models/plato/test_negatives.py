import random
from collections import Counter
from dataclasses import replace

from small_plato import said

from menura.models.plato.negatives import Negatives, differs

HERE = said((9,), reply=(20,), dialogue="here")


def test_another_reply_is_wrong_if_it_is_of_another_dialogue_and_says_other_words() -> None:
    assert differs(HERE, said((9,), reply=(21,), dialogue="there"))
    assert not differs(HERE, said((9,), reply=(20,), dialogue="there"))
    assert not differs(HERE, said((9,), reply=(21,), dialogue="here"))
    assert not differs(HERE, HERE)


def test_a_batch_is_asked_before_the_memory() -> None:
    negatives = Negatives()
    old, mate = said((9,), reply=(30,), dialogue="old"), said((9,), reply=(31,), dialogue="mate")
    negatives.drawn([old], random.Random(0))
    assert all(negatives.drawn([HERE, mate], random.Random(seed)) == [mate, HERE] for seed in range(20))
    assert Counter(id(one) for seed in range(20) for one in negatives.drawn([HERE], random.Random(seed))) != {}


def test_the_same_seed_draws_the_same() -> None:
    rows = [said((9,), reply=(20 + number,), dialogue=f"d{number}") for number in range(9)]
    drawn = [Negatives().drawn(rows, random.Random(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_where_nothing_is_wrong_nothing_is_drawn() -> None:
    buckets = [replace(HERE, dialogue_id=f"d{number}") for number in range(4)]
    assert Negatives().drawn(buckets, random.Random(0)) == [None] * 4
    assert Negatives().drawn([], random.Random(0)) == []
