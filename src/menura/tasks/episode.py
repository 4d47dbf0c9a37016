"""A task becomes episodes: support to adapt on and query to evaluate on, drawn by whole dialogues."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

from menura.errors import EpisodeError, number_of
from menura.tasks.task import DialogueView, Task


@dataclass(frozen=True)
class Episode:
    """One draw from a task; support and query share no dialogue."""

    persona_id: str
    support: tuple[DialogueView, ...]
    query: tuple[DialogueView, ...]

    def __post_init__(self) -> None:
        """Check that no dialogue is in both support and query."""
        shared = {p.dialogue.dialogue_id for p in self.support} & {p.dialogue.dialogue_id for p in self.query}
        assert not shared, f"dialogues in support and query: {sorted(shared)}"


def sample_episode(task: Task, shots: int, rng: random.Random, *, queries: int = 1) -> Episode:
    """Draw ``shots`` support dialogues and ``queries`` query dialogues, without replacement.

    Raises EpisodeError if the persona has fewer than ``shots + queries`` dialogues.
    """
    _enough(task, shots + queries, shots)
    drawn = rng.sample(task.dialogues, shots + queries)
    return Episode(task.persona_id, tuple(drawn[:shots]), tuple(drawn[shots:]))


def first_shots(task: Task, shots: int, *, queries: int | None = None) -> Episode:
    """Take the first ``shots`` dialogues as support and the following ones (all, or ``queries``) as query."""
    _enough(task, shots + 1, shots)
    end = None if queries is None else shots + queries
    return Episode(task.persona_id, task.dialogues[:shots], task.dialogues[shots:end])


def leave_one_out(task: Task, shots: int | None = None) -> Iterator[Episode]:
    """Yield one episode per dialogue: it is the query, the (first ``shots``) others are the support."""
    _enough(task, 2 if shots is None else min(shots, 1) + 1, shots or 1)
    for index, part in enumerate(task.dialogues):
        others = task.dialogues[:index] + task.dialogues[index + 1 :]
        yield Episode(task.persona_id, others[:shots], (part,))


def _enough(task: Task, needed: int, shots: int) -> None:
    found = len(task.dialogues)
    if found < needed:
        raise EpisodeError(
            f"persona {task.persona_id!r} has {number_of(found, 'dialogue')}, "
            f"too few for {number_of(shots, 'shot')} and a query "
            f"({needed} needed)",
            hint=f"use -k {max(found - 1, 0)} or give more dialogues",
        )
