"""Some replies of each row, drawn by a seed and not chosen, for a page; none that the corpus has word for word."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace

from menura.evaluation.evaluate import SystemRow
from menura.tasks.task import Task

REPLIES = 6
SEED = 0


def with_drawn_replies(rows: Sequence[SystemRow], tasks: Iterable[Task]) -> list[SystemRow]:
    """Return the rows with some of their replies, to the same exchanges in all rows.

    A reply that is a turn of the tasks' dialogues, whatever its case and blanks, becomes None: a page may not show what
    may not be passed on.
    """
    turns = {_plain(turn.text) for task in tasks for view in task.dialogues for turn in view.dialogue.turns}
    return [
        replace(row, drawn_replies=tuple(None if _plain(reply) in turns else reply for reply in _drawn(row)))
        for row in rows
    ]


def _drawn(row: SystemRow) -> list[str]:
    replies = [sample.reply for sample in row.generated]
    chosen = sorted(random.Random(SEED).sample(range(len(replies)), min(REPLIES, len(replies))))
    return [replies[index] for index in chosen]


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
