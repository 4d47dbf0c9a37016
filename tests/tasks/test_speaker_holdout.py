"""People who speak in both splits of a corpus stand on one split of ours."""

import pytest

from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import ConfigError
from menura.tasks.persona_groups import by_speaker
from menura.tasks.speaker_holdout import hold_out_speakers, known_only, rarest
from menura.tasks.task import Task


def split(name: str, **counts: int) -> list[Task]:
    """Tasks of people with so many dialogues each, answering nobody in particular."""
    pairs = [(person, number) for person, count in counts.items() for number in range(count)]
    return by_speaker(
        Dialogue(f"{name}:{person}:{number}", (Turn("partner", "hi"), Turn(person, "so"))) for person, number in pairs
    )


DEV = split("dev", Ann=9, Bob=3, Cy=2, Di=5, Ed=3)
TEST = split("test", Ann=4, Bob=4, Cy=1, Di=4, Ed=4)


def test_the_rarest_of_the_training_side_with_enough_on_the_test_side_are_chosen() -> None:
    assert rarest(DEV, TEST, 3, min_dialogues=4) == ["Bob", "Ed", "Di"]
    assert rarest(DEV, TEST, 2, min_dialogues=1) == ["Cy", "Bob"]


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match="5 test personas wanted, 4 have 4 dialogues or more"):
        rarest(DEV, TEST, 5, min_dialogues=4)


def test_test_people_speak_on_the_test_side_alone_and_the_others_not_there() -> None:
    training, test = hold_out_speakers(DEV, TEST, ["Bob", "Ed"])
    assert [task.persona_id for task in training] == ["Ann", "Cy", "Di"]
    assert [task.persona_id for task in test] == ["Bob", "Ed"]
    assert all(name.startswith("test:") for task in test for name in task.dialogue_ids)
    assert all(name.startswith("dev:") for task in training for name in task.dialogue_ids)


def test_all_names_that_are_wrong_are_told_with_what_could_be_meant() -> None:
    with pytest.raises(ConfigError) as caught:
        known_only(["Ann", "Annn", "🦜", "Cy"], TEST, min_dialogues=4)
    near, unknown, few = caught.value.problems
    assert "'Annn'" in near.message
    assert near.hint == "did you mean Ann?"
    assert unknown.hint == "choose among Cy, Ann, Bob, Di, Ed"
    assert "'Cy' has 1 dialogue in the test split, data.min_heldout_dialogues is 4" in few.message


def test_known_names_are_taken_once() -> None:
    assert known_only(["Bob", "Ann", "Bob"], TEST, min_dialogues=4) == ["Bob", "Ann"]
