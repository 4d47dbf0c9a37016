"""Tasks become tasks of fewer dialogues, so that less data is always a part of more."""

import random
from collections.abc import Iterable
from dataclasses import replace

from menura.tasks.task import Task


def fewer_dialogues(tasks: Iterable[Task], most: int, seed: int) -> list[Task]:
    """Return tasks that hold ``most`` dialogues between them; those that are left without any are gone.

    The dialogues are the first ones of an order that depends on their ids and the seed alone: what is kept of few is
    kept of many. A dialogue that is in several tasks is kept in all of them or in none.
    """
    tasks = list(tasks)
    names = sorted({dialogue_id for task in tasks for dialogue_id in task.dialogue_ids})
    random.Random(f"{seed}:fewer").shuffle(names)
    kept = frozenset(names[:most])
    left = (
        replace(t, dialogues=tuple(part for part in t.dialogues if part.dialogue.dialogue_id in kept)) for t in tasks
    )
    return [task for task in left if task.dialogues]
