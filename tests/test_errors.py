"""What messages say is put in words in one place."""

from menura.errors import number_of


def test_one_thing_is_singular_and_all_other_numbers_are_plural() -> None:
    assert [number_of(count, "dialogue") for count in (0, 1, 2, 2000)] == [
        "0 dialogues",
        "1 dialogue",
        "2 dialogues",
        "2,000 dialogues",
    ]


def test_plurals_in_ies_and_irregular_ones_are_right() -> None:
    assert (number_of(1, "reply"), number_of(3, "reply"), number_of(3, "day")) == ("1 reply", "3 replies", "3 days")
    assert number_of(3, "person", "people") == "3 people"
