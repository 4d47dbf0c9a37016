"""Who is meant can be typed as it is shown, and the warning of too little is about who is meant."""

import shlex

from menura.corpus.speakers import FEW_DIALOGUES, FEW_REPLIES, few, speaker_hint

PAIRS = [("Tom O'Neill", 9), ("Ann", 4), ("Bo $HOME", 1)]


def options_in(hint: str) -> list[str]:
    """Return the names after ``--speaker``, as a shell reads them."""
    words = shlex.split(hint)
    return [words[at + 1].rstrip("?") for at, word in enumerate(words) if word == "--speaker"]


def test_every_speaker_of_the_hint_can_be_typed_as_it_stands() -> None:
    assert options_in(speaker_hint(None, PAIRS)) == ["Tom O'Neill", "Ann", "Bo $HOME"]


def test_those_who_reply_most_come_first_with_how_often() -> None:
    assert speaker_hint(None, [("a", 1), ("b", 9)]) == "type one of --speaker b (9 replies), --speaker a (1 reply)"


def test_a_name_that_is_nearly_right_is_answered_with_the_right_one() -> None:
    assert speaker_hint("Tom ONeill", PAIRS).startswith("did you mean --speaker ")
    assert options_in(speaker_hint("Tom ONeill", PAIRS)) == ["Tom O'Neill"]


def test_of_many_ten_are_listed_and_the_rest_is_counted() -> None:
    hint = speaker_hint(None, [(f"person {number:02}", number + 1) for number in range(30)])
    assert len(options_in(hint)) == 10
    assert hint.endswith(" and 20 more")


def test_a_name_that_would_be_cut_or_escaped_is_not_offered() -> None:
    hint = speaker_hint(None, [("x" * 81, 5), ("a\nb", 4), ("Ann", 3)])
    assert hint == "type one of --speaker Ann (3 replies) and 2 more"


def test_few_is_said_below_ten_replies_or_two_dialogues() -> None:
    assert few("Ann", FEW_REPLIES, FEW_DIALOGUES) is None
    assert few("Ann", FEW_REPLIES, 1) is not None
    told = few("Ann", 1, 1, place="chat.txt", aside="who replies most")
    assert str(told).startswith("warn[few]: chat.txt: 1 reply of 'Ann', who replies most, in 1 dialogue: little")
