"""Who is like whom by their facts."""

import math
import random
from itertools import combinations

import numpy
import pytest

from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import DataError
from menura.tasks.similarity import choose_users, least_alike, mean_between, most_alike, similarities
from menura.tasks.split import SplitPlan, Splits, from_record
from menura.tasks.task import DialogueView, Task


def user(name: str, *facts: str) -> Task:
    parts = tuple(
        DialogueView(Dialogue(f"{name}-{i}", (Turn("partner", "hi"), Turn("self", "so"))), "self") for i in range(2)
    )
    return Task(name, parts, facts)


# Two camps, and one who is in neither.
USERS = [
    user("a", "I mend clocks", "I mend boats"),
    user("b", "i mend clocks"),
    user("c", "i mend clocks", "I bake bread"),
    user("d", "I sing opera"),
    user("e", "i sing opera", "i dance"),
    user("f", "i count stars"),
]


def test_a_cosine_is_that_of_the_definition() -> None:
    mend, clocks, boats = math.log(6 / 3), math.log(6 / 3), math.log(6)
    product = 2 * mend * mend + clocks * clocks
    lengths = math.hypot(2 * mend, clocks, boats) * math.hypot(mend, clocks)
    assert similarities(USERS)[0, 1] == pytest.approx(product / lengths)


def test_a_word_that_all_have_makes_nobody_alike_and_case_does_not_matter() -> None:
    between = similarities(USERS)
    assert between[0, 3] == 0
    assert numpy.array_equal(between, between.T)
    assert numpy.allclose(between.diagonal(), 1)
    assert similarities([user("x", "i"), user("y", "I")])[0, 1] == 0


def test_similar_users_are_the_seed_of_the_tightest_group_and_its_nearest() -> None:
    between = similarities(USERS)
    means = [numpy.sort(numpy.delete(row, index))[-2:].mean() for index, row in enumerate(between)]
    assert most_alike(between, 3)[0] == int(numpy.argmax(means))
    assert sorted(most_alike(between, 3)) == [0, 1, 2]


def test_dissimilar_users_are_one_of_each_kind() -> None:
    chosen = least_alike(similarities(USERS), 3)
    assert chosen[0] == 5
    assert {"aaaddf"[index] for index in chosen} == set("adf")


def test_dissimilar_users_are_farthest_points_whatever_the_numbers() -> None:
    rng = numpy.random.default_rng(0)
    half = rng.random((9, 9))
    between = (half + half.T) / 2
    numpy.fill_diagonal(between, 1)
    chosen = least_alike(between, 5)
    for count in range(1, 5):
        known, rest = chosen[:count], [i for i in range(9) if i not in chosen[:count]]
        nearest = {i: max(between[i, j] for j in known) for i in rest}
        assert chosen[count] == min(nearest, key=nearest.__getitem__)


@pytest.mark.parametrize("choose", [most_alike, least_alike])
def test_who_asks_for_more_than_there_are_gets_all_once(choose) -> None:
    assert sorted(choose(similarities(USERS), 100)) == list(range(6))


def test_the_mean_is_over_pairs_of_different_users() -> None:
    between = similarities(USERS)
    wanted = [between[i, j] for i, j in combinations([0, 2, 3], 2)]
    assert mean_between(between, [0, 2, 3]) == pytest.approx(sum(wanted) / 3)


def made() -> Splits:
    plan = SplitPlan({"train": 0.8, "valid": 0.2, "test": 0.0}, 0)
    test = tuple(user(f"t-{task.persona_id}", *task.facts) for task in USERS)
    return Splits({"train": tuple(USERS), "valid": (user("v", "i knit"),), "test": test}, plan, {})


def test_both_sides_are_narrowed_by_themselves_and_the_valid_side_stays() -> None:
    similar, dissimilar = choose_users(made(), "similar", 3), choose_users(made(), "dissimilar", 3)
    names = {split: [task.persona_id for task in tasks] for split, tasks in similar.splits.items()}
    assert names == {"train": ["a", "b", "c"], "valid": ["v"], "test": ["t-a", "t-b", "t-c"]}
    assert similar.likeness["train"] > dissimilar.likeness["train"]
    assert similar.likeness["test"] == pytest.approx(similar.likeness["train"])


def test_the_record_tells_how_alike_they_are_and_gives_the_same_again() -> None:
    chosen = choose_users(made(), "similar", 3)
    record = chosen.record()
    assert record["likeness"] == dict(chosen.likeness)
    held = [task for tasks in made().splits.values() for task in tasks]
    assert from_record(record, random.Random(1).sample(held, len(held))) == chosen


def test_users_without_facts_are_an_error() -> None:
    with pytest.raises(DataError, match="2 of 3 personas in the test split have no facts"):
        similarities([user("a", "i sing"), user("b"), user("c", "?")], "test")
    with pytest.raises(DataError, match="1 user in the train split: to be alike takes 2"):
        similarities([user("a", "i sing")], "train")
