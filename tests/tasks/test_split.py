"""No persona and no dialogue in two splits."""

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import ConfigError, DataError
from menura.tasks.persona_groups import by_speaker
from menura.tasks.split import Splits, from_record, split_tasks, strangers
from menura.tasks.task import DialogueView, Task

SHARES = {"train": 0.6, "valid": 0.2, "test": 0.2}


def corpus(size: int, people: int, seed: int) -> list[Dialogue]:
    rng = random.Random(seed)
    pairs = [rng.sample(range(people), 2) for _ in range(size)]
    return [
        Dialogue(f"d{i}", tuple(Turn(f"p{pair[turn % 2]}", f"line {i} {turn}") for turn in range(4)))
        for i, pair in enumerate(pairs)
    ]


TASKS = by_speaker(corpus(300, 30, 1))


def made(tasks: list[Task] = TASKS, seed: int = 0, needed: dict[str, int] | None = None) -> Splits:
    return split_tasks(tasks, SHARES, seed=seed, min_dialogues=needed)


@given(st.integers(0, 10_000), st.sampled_from([None, 3, 30]))
def test_no_persona_and_no_dialogue_is_on_two_sides(seed: int, cap: int | None) -> None:
    splits = split_tasks(by_speaker(corpus(300, 30, 1), cap=cap), SHARES, seed=seed, at_least=1).splits
    personas = [task.persona_id for tasks in splits.values() for task in tasks]
    assert len(personas) == len(set(personas))
    dialogues = [set().union(*(task.dialogue_ids for task in tasks)) for tasks in splits.values()]
    assert sum(map(len, dialogues)) == len(set().union(*dialogues))


def test_held_out_personas_are_never_heard_on_an_earlier_side_even_where_a_cap_hides_them() -> None:
    tasks = by_speaker(corpus(300, 30, 1), cap=5)
    splits = split_tasks(tasks, SHARES, seed=0).splits
    test = {task.persona_id for task in splits["test"]}
    heard = {speaker for task in splits["train"] for part in task.dialogues for speaker in part.dialogue.speakers}
    assert not test & heard


def test_a_dialogue_between_sides_goes_to_the_later_one() -> None:
    splits = made().splits
    test = {task.persona_id: task for task in splits["test"]}
    for task in TASKS:
        if task.persona_id in test:
            assert test[task.persona_id].dialogue_ids == task.dialogue_ids


def test_two_held_out_personas_of_one_side_keep_their_dialogue() -> None:
    held = [task.dialogue_ids for seed in range(5) for task in made(seed=seed)["test"]]
    assert any(one & other for i, one in enumerate(held) for other in held[:i])


def test_the_order_of_the_tasks_does_not_matter_and_the_seed_does() -> None:
    shuffled = random.Random(5).sample(TASKS, len(TASKS))
    assert made(shuffled).record() == made().record()
    assert made(shuffled).splits == made().splits
    assert made(seed=1).record() != made().record()


def test_only_personas_with_enough_dialogues_are_held_out() -> None:
    splits = made(needed={"test": 22}).splits
    assert splits["test"]
    assert all(len(task.dialogues) >= 22 for task in splits["test"])


def test_the_share_is_of_the_eligible_personas() -> None:
    eligible = [task for task in TASKS if len(task.dialogues) >= 20]
    assert len(made(needed={"test": 20})["test"]) == max(1, round(0.2 * len(eligible)))


def test_personas_with_too_few_dialogues_left_are_dropped_and_counted() -> None:
    result = split_tasks(TASKS, {"train": 0.5, "test": 0.5}, seed=0, at_least=12)
    assert result.dropped["train"] > 0
    assert result.dropped["test"] == 0
    assert all(len(task.dialogues) >= 12 for tasks in result.splits.values() for task in tasks)


def test_a_side_without_personas_is_an_error() -> None:
    with pytest.raises(DataError, match="the test split gets no persona with 99 dialogues"):
        made(needed={"test": 99})


@pytest.mark.parametrize("shares", [{}, {"train": 0.5}, {"train": 1.2, "test": -0.2}, {"train": 0.9, "test": 0.2}])
def test_shares_that_cannot_be_meant_are_refused(shares: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="shares"):
        split_tasks(TASKS, shares, seed=0)


def test_an_unknown_side_in_needed_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean test"):
        made(needed={"tset": 3})


def test_a_persona_id_that_stands_twice_is_refused() -> None:
    with pytest.raises(DataError, match="stands twice"):
        made([*TASKS, TASKS[0]])


def test_a_leak_is_found() -> None:
    good = made()
    splits = {**good.splits, "train": (*good.splits["train"], good.splits["test"][0])}
    with pytest.raises(DataError) as caught:
        replace(good, splits=splits).verify()
    name = good.splits["test"][0].persona_id
    messages = [problem.message for problem in caught.value.problems]
    assert f"persona '{name}' is in train and test" in messages
    assert any(message.startswith("dialogue") for message in messages)


def test_a_held_out_partner_on_an_earlier_side_is_found() -> None:
    talks = [Dialogue(f"d{i}", (Turn(one, "hi"), Turn(other, "so"))) for i, (one, other) in enumerate(["ab", "ac"])]
    ann, _, cy = by_speaker(talks)
    # The dialogue of a and c was capped away from c, yet c's words would be known to train.
    leaky = Splits({"train": (ann,), "test": (replace(cy, dialogues=(_other_talk(cy),)),)}, made().plan, {})
    with pytest.raises(DataError, match="persona 'c' of test speaks in dialogue 'd1' of train"):
        leaky.verify()


def _other_talk(task: Task) -> DialogueView:
    return DialogueView(Dialogue("else", (Turn("z", "hi"), Turn(task.persona_id, "so"))), task.persona_id)


def test_a_record_survives_json_and_gives_the_same_split_again() -> None:
    record = json.loads(json.dumps(made().record()))
    assert from_record(record, TASKS) == made()


def test_a_record_counts_each_persona_s_dialogues_by_side() -> None:
    split = made()
    counts = split.record()["counts"]
    assert counts == {split: {t.persona_id: len(t.dialogues) for t in tasks} for split, tasks in split.splits.items()}
    assert list(counts["train"].values()) == sorted(counts["train"].values(), reverse=True)


def test_a_record_tells_a_missing_persona_and_a_missing_dialogue() -> None:
    record = made().record()
    gone, shorter, *rest = TASKS
    kept = replace(shorter, dialogues=shorter.dialogues[:1])
    with pytest.raises(DataError) as caught:
        from_record(record, [kept, *rest])
    messages = " ".join(problem.message for problem in caught.value.problems)
    assert f"persona '{gone.persona_id}' of the record is not in the data" in messages
    assert f"of persona '{shorter.persona_id}' is not in the data" in messages


def test_a_record_tells_on_which_side_a_text_has_changed() -> None:
    record = made().record()
    changed = [_reworded(task, made()["test"][0].persona_id) for task in TASKS]
    with pytest.raises(DataError, match="texts differ from the recorded ones: test"):
        from_record(record, changed)


def test_other_profiles_are_other_data_and_none_leave_the_checksum_as_it_was() -> None:
    record = made().record()
    known = {"anybody": {"age": ("7",)}}
    told = [replace(task, dialogues=tuple(_told(part, known) for part in task.dialogues)) for task in TASKS]
    with pytest.raises(DataError, match="texts differ"):
        from_record(record, told)
    # As it was before dialogues had profiles: splits recorded then are made again now.
    assert record["sha256"] == "1337fe759aa69f63c61c58deff4c4dd6ce29484b83d1af45821f1e9b9c470abf"


def _told(part: DialogueView, profiles: dict[str, dict[str, tuple[str, ...]]]) -> DialogueView:
    return replace(part, dialogue=replace(part.dialogue, profiles=profiles))


def _reworded(task: Task, name: str) -> Task:
    if task.persona_id != name:
        return task
    first = task.dialogues[0]
    turns = (Turn(first.dialogue.turns[0].speaker, "another word"), *first.dialogue.turns[1:])
    return replace(task, dialogues=(replace(first, dialogue=replace(first.dialogue, turns=turns)), *task.dialogues[1:]))


@pytest.mark.parametrize("record", [{}, {"sides": 3}, {**made().record(), "shares": None}])
def test_what_is_no_record_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(DataError, match="not the record of a split"):
        from_record(record, TASKS)


def test_a_stranger_shares_no_dialogue_and_is_another() -> None:
    tasks = by_speaker(corpus(60, 40, 2), cap=2)
    found = strangers(tasks)
    partners = {name: set() for name in found}
    for dialogue in corpus(60, 40, 2):
        for speaker in dialogue.speakers:
            partners[speaker].update(dialogue.speakers)
    held = {part.dialogue.dialogue_id for task in tasks for part in task.dialogues}
    assert len(held) < 60
    by_name = {task.persona_id: task for task in tasks}
    for name, other in found.items():
        assert name != other
        assert not by_name[name].dialogue_ids & by_name[other].dialogue_ids
        assert other not in {s for part in by_name[name].dialogues for s in part.dialogue.speakers}
    assert len(set(found.values())) > len(found) * 0.7


def test_who_has_met_everybody_has_no_stranger() -> None:
    with pytest.raises(DataError, match="shares dialogues with every other"):
        strangers(by_speaker(corpus(5, 2, 0)))
