"""How much of one persona is kept."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import part

from menura.corpus.dialogue import Dialogue, Turn
from menura.errors import ConfigError
from menura.tasks.persona_groups import by_speaker
from menura.tasks.size_limits import cap_dialogues, cap_utterances, fewer_dialogues, first_dialogues
from menura.tasks.task import DialogueView, Task


def talk(name: str, *speakers: str) -> Dialogue:
    return Dialogue(name, tuple(Turn(speaker, f"{name} {i}") for i, speaker in enumerate(speakers * 2)))


def long(*lengths: int) -> Task:
    """A persona of dialogues of so many turns, every second one its own."""
    dialogues = [
        Dialogue(f"d{number}", tuple(Turn(("guest", "mira")[i % 2], f"{number} {i}") for i in range(length)))
        for number, length in enumerate(lengths)
    ]
    return Task("mira", tuple(DialogueView(dialogue, "mira") for dialogue in dialogues))


def lengths(task: Task) -> dict[str, int]:
    return {part.dialogue.dialogue_id: len(part.dialogue.turns) for part in task.dialogues}


def test_the_first_dialogues_stay() -> None:
    assert lengths(first_dialogues(long(2, 4, 6), 2)) == {"d0": 2, "d1": 4}
    assert first_dialogues(long(2, 4), 9) == long(2, 4)


def test_the_start_of_a_dialogue_keeps_its_profiles() -> None:
    (part,) = long(6).dialogues
    known = {"mira": {"age": ("7",)}}
    told = Task("mira", (replace(part, dialogue=replace(part.dialogue, profiles=known)),))
    (kept,) = cap_utterances(told, 4).dialogues
    assert (len(kept.dialogue.turns), kept.dialogue.profiles) == (4, known)


def test_a_sampled_cap_keeps_order_and_ignores_other_personas() -> None:
    talks = [talk(str(i), "Ann", "Bob" if i % 2 else "Cy") for i in range(40)]
    tasks = by_speaker(talks)
    capped = cap_dialogues(tasks, 11, seed=3)
    numbers = [int(part.dialogue.dialogue_id) for part in capped[0].dialogues]
    assert numbers == sorted(numbers)
    assert numbers != list(range(11))
    shuffled = random.Random(0).sample(tasks, len(tasks))
    assert {t.persona_id: t for t in cap_dialogues(shuffled, 11, 3)} == {t.persona_id: t for t in capped}
    assert cap_dialogues(tasks, 11, seed=4) != capped


def test_dialogues_are_taken_whole_until_one_must_be_cut() -> None:
    assert lengths(cap_utterances(long(4, 4, 4), 10)) == {"d0": 4, "d1": 4, "d2": 2}
    assert cap_utterances(long(4, 4, 4), 12) == long(4, 4, 4)


def test_a_cut_dialogue_ends_in_a_reply_and_one_that_would_have_none_goes() -> None:
    assert lengths(cap_utterances(long(4, 4, 4), 7)) == {"d0": 4, "d1": 2}
    assert lengths(cap_utterances(long(4, 4), 5)) == {"d0": 4}


@given(st.lists(st.integers(2, 9), min_size=1, max_size=8), st.integers(2, 40), st.sampled_from([None, 1, 2]))
def test_a_bound_of_utterances_is_held_and_nearly_reached(sizes: list[int], most: int, seed: int | None) -> None:
    kept = sum(lengths(cap_utterances(long(*sizes), most, seed)).values())
    assert min(sum(sizes), most) - 1 <= kept <= most


def test_drawn_utterances_are_of_drawn_dialogues_in_their_order() -> None:
    task = long(*[4] * 30)
    one = cap_utterances(task, 40, seed=1)
    numbers = [int(name[1:]) for name in lengths(one)]
    assert numbers == sorted(numbers)
    assert numbers != list(range(10))
    assert one == cap_utterances(task, 40, seed=1) != cap_utterances(task, 40, seed=2)


@pytest.mark.parametrize(
    "call",
    [
        lambda: first_dialogues(long(2), 0),
        lambda: cap_dialogues([], -1, 0),
        lambda: cap_utterances(long(2), 1),
    ],
)
def test_a_bound_that_leaves_nothing_is_refused(call) -> None:
    with pytest.raises(ConfigError, match="or more"):
        call()


PEOPLE = [Task(f"p{n}", tuple(part(f"d{n}-{k}", "hi", "hello") for k in range(4))) for n in range(10)]


def dialogue_ids_of(tasks: list[Task]) -> set[str]:
    return {name for task in tasks for name in task.dialogue_ids}


def test_so_many_dialogues_are_left_in_all() -> None:
    assert [len(dialogue_ids_of(fewer_dialogues(PEOPLE, most, 0))) for most in (1, 7, 40, 99)] == [1, 7, 40, 40]


def test_fewer_are_among_more_whatever_the_order_of_the_tasks() -> None:
    few, more = (dialogue_ids_of(fewer_dialogues(PEOPLE, most, 0)) for most in (7, 20))
    assert few < more
    assert dialogue_ids_of(fewer_dialogues(PEOPLE[::-1], 7, 0)) == few
    assert dialogue_ids_of(fewer_dialogues(PEOPLE, 7, 1)) != few


def test_nobody_is_left_without_a_dialogue_and_the_order_stays() -> None:
    left = fewer_dialogues(PEOPLE, 7, 0)
    assert all(task.dialogues for task in left)
    assert len(left) < len(PEOPLE)
    names = [task.persona_id for task in left]
    assert names == sorted(names)
    assert all([p.dialogue.dialogue_id for p in task.dialogues] == sorted(task.dialogue_ids) for task in left)


def test_a_dialogue_of_two_people_is_kept_for_both_or_for_neither() -> None:
    both = [*PEOPLE, *(replace(task, persona_id=f"other-{n}") for n, task in enumerate(PEOPLE))]
    left = fewer_dialogues(both, 9, 0)
    assert len(dialogue_ids_of(left)) == 9
    assert sum(len(task.dialogues) for task in left) == 18
