"""What a corpus holds twice is learnt from once and never where it is judged by."""

from menura.corpus.dialogue import Dialogue, Turn
from menura.tasks.dedup import deduplicated, text_of
from menura.tasks.persona_groups import by_dialogue
from menura.tasks.split import SplitPlan, Splits, from_record
from menura.tasks.task import Task


def talk(name: str, *texts: str) -> Dialogue:
    return Dialogue(name, tuple(Turn(("a", "b")[place % 2], text) for place, text in enumerate(texts)))


def tasks(*dialogues: Dialogue) -> tuple[Task, ...]:
    return tuple(by_dialogue(dialogues))


def made() -> Splits:
    splits = {
        "train": tasks(talk("1", "hi", "ho"), talk("2", "so", "yes"), talk("3", "So ,", "YES"), talk("4", "hm", "no")),
        "valid": tasks(talk("5", "hm", "no !"), talk("6", "well", "well")),
        "test": tasks(talk("7", "Hi .", "ho"), talk("8", "Well", "well"), talk("9", "well", "well")),
    }
    return Splits(splits, SplitPlan({"train": 1.0, "valid": 0.0, "test": 0.0}, 0, at_least=1), dict.fromkeys(splits, 0))


def names(split: Splits) -> dict[str, list[str]]:
    return {split: [task.persona_id for task in held] for split, held in split.splits.items()}


def test_training_loses_what_is_judged_by_and_copies_and_the_test_side_stays_whole() -> None:
    found = deduplicated(made())
    assert names(found) == {"train": ["2"], "valid": ["5"], "test": ["7", "8", "9"]}
    assert found.repeated == {"train": 3, "valid": 1, "test": 0}
    assert found.dropped == {"train": 3, "valid": 1, "test": 0}


def test_the_record_counts_and_gives_the_split_back_with_both_speakers_parts() -> None:
    long = talk("x", "so", "yes", "no", "oh")
    split = Splits(
        {"train": tasks(long), "valid": (), "test": tasks(talk("y", "a", "b", "c"))}, made().plan, {}, {}, {"train": 2}
    )
    record = split.record()
    assert record["repeated"] == {"train": 2}
    again = from_record(record, [task for held in split.splits.values() for task in held])
    assert again == split
    assert [part.speaker for part in again["train"][0].dialogues] == ["a", "b"]


def test_turns_without_a_word_are_not_all_alike() -> None:
    assert text_of(talk("1", "😂", "Ok .")) == ("😂", "ok")
    assert text_of(talk("1", "😂", "ok")) != text_of(talk("2", "👍", "ok"))
    assert text_of(talk("1", "ab", "c")) != text_of(talk("2", "a", "bc"))
