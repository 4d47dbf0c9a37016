import pytest

from menura.batches.speaker_profile import ProfileTokens, common_pieces, word_numbers, words_of_profiles
from menura.errors import DataError

PEOPLE = [
    {"gender": ("female",), "place": ("old harbour",), "likes": ("owls", "tea")},
    {"gender": ("male",), "place": ("old mill",)},
    {"gender": ("female",), "likes": ("tea, strong",)},
]
KEYS = {"gender": 2, "place": 3, "likes": 4}


def tokens(**settings: object) -> ProfileTokens:
    return ProfileTokens(KEYS, word_numbers(["female", "old", "harbour", "tea"], 5), **settings)  # type: ignore[arg-type]


def test_each_value_of_a_key_is_a_slot_in_the_order_of_the_keys() -> None:
    shuffled = dict(reversed(PEOPLE[0].items()))
    assert tokens().slots(shuffled) == ((2, (5,)), (3, (6, 7)), (4, (1,)), (4, (8,)))
    assert tokens().slots(PEOPLE[0]) == tokens().slots(shuffled)


def test_what_is_not_told_is_unknown_and_counted_once_a_profile() -> None:
    read = tokens()
    for _ in range(3):
        assert read.slots(PEOPLE[1]) == ((2, (1,)), (3, (6, 1)), (4, (1,)))
        assert read.slots({}) == ((2, (1,)), (3, (1,)), (4, (1,)))
    assert read.missing == {"gender": 1, "place": 1, "likes": 2}


def test_a_value_without_any_piece_is_unknown() -> None:
    assert tokens().slots({"gender": ("",), "place": (" ",)})[:2] == ((2, (1,)), (3, (1,)))


def test_keys_that_no_one_knows_are_all_listed() -> None:
    with pytest.raises(DataError) as caught:
        tokens().slots({"gender": ("female",), "height": ("tall",), "sign": ("leo",)})
    assert [problem.code for problem in caught.value.problems] == ["unknown_attribute"] * 2
    assert "'height'" in caught.value.problems[0].message
    assert "gender, place, likes" in caught.value.problems[0].hint


def test_keys_that_were_not_chosen_are_passed_over() -> None:
    assert tokens(chosen=True).slots({"gender": ("female",), "height": ("tall",)})[0] == (2, (5,))


def test_a_reply_expresses_what_is_not_common_to_all() -> None:
    read = tokens(common=frozenset({"harbour"}))
    assert read.expressed(PEOPLE[0], "two Owls in one tree")
    assert not read.expressed(PEOPLE[0], "the harbour at night")
    assert not read.expressed(PEOPLE[1], "two owls")
    assert not read.expressed({}, "anything")
    assert not read.expressed({"sign": ("leo rising",)}, "leo rising")


def test_lenders_are_found_by_what_a_reply_says_of_them_that_is_not_common() -> None:
    read = tokens(common=frozenset({"harbour"})).lending([*PEOPLE, PEOPLE[0]])
    first, second, third = (read.slots(person) for person in PEOPLE)
    assert read.lent_for("an OLD mill") == (((second[1], second),),)
    assert read.lent_for("a strong female") == (((first[0], first), (third[0], third)), ((third[2], third),))
    assert read.lent_for("the harbour of tea") == ()


def test_without_lenders_no_reply_is_lent_anything() -> None:
    assert tokens().lent_for("an old mill") == ()


def test_words_are_those_that_enough_profiles_hold() -> None:
    assert words_of_profiles(PEOPLE)[:4] == ["female", "old", "harbour", "owls"]
    assert words_of_profiles(PEOPLE, min_count=2) == ["female", "old", "tea"]


def test_common_is_what_more_than_a_share_of_profiles_hold() -> None:
    assert common_pieces(PEOPLE, 0.5) == {"female"}
    assert "harbour" in common_pieces(PEOPLE, 0.1)
    assert common_pieces([], 0.1) == frozenset()
