"""Counts of a corpus."""

from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.statistics import statistics


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
