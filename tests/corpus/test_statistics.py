"""Counts of a corpus."""

from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.statistics import Counting, statistics


def dialogue(name: str, *said: tuple[str, str]) -> Dialogue:
    return Dialogue(name, tuple(Turn(*turn) for turn in said))


def test_everything_is_counted() -> None:
    corpus = [
        dialogue("1", ("Ann", "one two"), ("Bob", "three"), ("Ann", "four five six")),
        dialogue("2", ("Ann", "seven"), ("Cy", "eight nine ten eleven")),
    ]
    counted = statistics(corpus)
    assert (counted.dialogues, counted.turns, counted.words, counted.speakers) == (2, 5, 11, 3)
    assert counted.turns_per_dialogue == 2.5
    assert counted.words_per_turn == 2
    assert counted.replies == {"Bob": 1, "Ann": 1, "Cy": 1}
    assert counted.dialogues_per_speaker == {0.0: 1, 0.25: 1, 0.5: 1, 0.75: 2, 0.9: 2, 1.0: 2}


def test_no_dialogues_give_zeros() -> None:
    counted = statistics([])
    assert (counted.dialogues, counted.words_per_turn, counted.dialogues_per_speaker) == (0, 0, {})


@given(st.lists(st.lists(st.integers(1, 6), min_size=2, max_size=5), max_size=8))
def test_medians_are_those_of_all_values_though_none_is_kept(words: list[list[int]]) -> None:
    counting = Counting()
    for number, lengths in enumerate(words):
        turns = (Turn("ab"[i % 2], " ".join(["x"] * length)) for i, length in enumerate(lengths))
        counting.add(Dialogue(str(number), tuple(turns)))
    found = counting.result()
    assert found.words_per_turn == median([length for lengths in words for length in lengths] or [0])
    assert found.turns_per_dialogue == median([len(lengths) for lengths in words] or [0])
    assert (found.dialogues, found.words) == (len(words), sum(map(sum, words)))
