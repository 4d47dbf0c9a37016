from dataclasses import replace

from made_up import part

from menura.tasks.subsample import fewer_dialogues
from menura.tasks.task import Persona, Task

PEOPLE = [Task(Persona(f"p{n}"), tuple(part(f"d{n}-{k}", "hi", "hello") for k in range(4))) for n in range(10)]


def dialogues(tasks: list[Task]) -> set[str]:
    return {name for task in tasks for name in task.dialogue_ids}


def test_so_many_dialogues_are_left_in_all() -> None:
    assert [len(dialogues(fewer_dialogues(PEOPLE, most, 0))) for most in (1, 7, 40, 99)] == [1, 7, 40, 40]


def test_fewer_are_among_more_whatever_the_order_of_the_tasks() -> None:
    few, more = (dialogues(fewer_dialogues(PEOPLE, most, 0)) for most in (7, 20))
    assert few < more
    assert dialogues(fewer_dialogues(PEOPLE[::-1], 7, 0)) == few
    assert dialogues(fewer_dialogues(PEOPLE, 7, 1)) != few


def test_nobody_is_left_without_a_dialogue_and_the_order_stays() -> None:
    left = fewer_dialogues(PEOPLE, 7, 0)
    assert all(task.dialogues for task in left)
    assert len(left) < len(PEOPLE)
    names = [task.persona.persona_id for task in left]
    assert names == sorted(names)
    assert all([p.dialogue.dialogue_id for p in task.dialogues] == sorted(task.dialogue_ids) for task in left)


def test_a_dialogue_of_two_people_is_kept_for_both_or_for_neither() -> None:
    both = [*PEOPLE, *(replace(task, persona=Persona(f"other-{n}")) for n, task in enumerate(PEOPLE))]
    left = fewer_dialogues(both, 9, 0)
    assert len(dialogues(left)) == 9
    assert sum(len(task.dialogues) for task in left) == 18
