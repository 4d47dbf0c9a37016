"""Tasks become smaller tasks, with bounds on a persona's dialogues or utterances, or on all dialogues."""

import random
from collections.abc import Iterable
from dataclasses import replace

from menura.errors import ConfigError
from menura.tasks.task import DialogueView, Task


def first_dialogues(task: Task, cap: int) -> Task:
    """Return a task of its first ``cap`` dialogues."""
    _at_least("cap", cap, 1, "dialogue")
    return replace(task, dialogues=task.dialogues[:cap])


def cap_dialogues(tasks: Iterable[Task], cap: int, seed: int) -> list[Task]:
    """Return tasks of at most ``cap`` dialogues, drawn per persona and kept in order; same seed, same draw.

    A persona's draw does not depend on which other personas there are.
    """
    _at_least("cap", cap, 1, "dialogue")
    return [_sampled(task, cap, seed) for task in tasks]


def fewer_dialogues(tasks: Iterable[Task], most: int, seed: int) -> list[Task]:
    """Return tasks with ``most`` dialogues in total; tasks without any are dropped.

    The order of dialogues depends on their ids and the seed alone, so a smaller set is part of a larger one. A dialogue
    that is in several tasks is kept in all of them or in none.
    """
    tasks = list(tasks)
    names = sorted({dialogue_id for task in tasks for dialogue_id in task.dialogue_ids})
    random.Random(f"{seed}:fewer").shuffle(names)
    kept = frozenset(names[:most])
    left = (
        replace(t, dialogues=tuple(part for part in t.dialogues if part.dialogue.dialogue_id in kept)) for t in tasks
    )
    return [task for task in left if task.dialogues]


def cap_utterances(task: Task, most: int, seed: int | None = None) -> Task:
    """Return a task of at most ``most`` utterances of both speakers, at worst one exchange fewer.

    Whole dialogues are taken, the first ones or, with a ``seed``, drawn ones; the rest is filled with the start of the
    next, up to a reply of the persona. The order stays.
    """
    _at_least("max_utterances", most, 2, "utterances")
    waiting = list(range(len(task.dialogues)))
    if seed is not None:
        random.Random(f"{seed}:utterances:{task.persona_id}").shuffle(waiting)
    taken: dict[int, DialogueView] = {}
    left = most
    for index in waiting:
        part = _up_to_a_reply(task.dialogues[index], left)
        if part is None:
            break
        taken[index] = part
        left -= len(part.dialogue.turns)
        if len(part.dialogue.turns) < len(task.dialogues[index].dialogue.turns):
            break
    return replace(task, dialogues=tuple(taken[index] for index in sorted(taken)))


def _up_to_a_reply(part: DialogueView, most: int) -> DialogueView | None:
    """Return the dialogue if it fits, else its start up to a reply of the persona; None if there is no such reply."""
    turns = part.dialogue.turns
    if len(turns) <= most:
        return part
    ends = [index + 1 for index in range(1, most) if turns[index].speaker == part.speaker]
    return replace(part, dialogue=replace(part.dialogue, turns=turns[: ends[-1]])) if ends else None


def _sampled(task: Task, cap: int, seed: int) -> Task:
    rng = random.Random(f"{seed}:{task.persona_id}")
    kept = sorted(rng.sample(range(len(task.dialogues)), min(len(task.dialogues), cap)))
    return replace(task, dialogues=tuple(task.dialogues[index] for index in kept))


def _at_least(name: str, found: int, least: int, unit: str) -> None:
    if found < least:
        raise ConfigError(f"{name} is {found}, must be {least} {unit} or more")
