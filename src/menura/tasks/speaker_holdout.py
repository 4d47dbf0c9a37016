"""Speakers who occur in both training and test split: some become test personas, the others training personas."""

from collections.abc import Sequence
from difflib import get_close_matches

from menura.errors import ConfigError, Problem, number_of, shown
from menura.tasks.task import Task

NAMES_LISTED = 70  # of known people, in a hint


def rarest(training: Sequence[Task], test: Sequence[Task], count: int, min_dialogues: int) -> list[str]:
    """Return the ``count`` personas with the fewest training dialogues and ``min_dialogues`` or more in the test split.

    Of equally rare ones the first by name. ConfigError if there are not enough.
    """
    dialogues = {task.persona_id: len(task.dialogues) for task in training}
    able = [task.persona_id for task in test if len(task.dialogues) >= min_dialogues]
    if len(able) < count:
        needed = f"{number_of(min_dialogues, 'dialogue')} or more in the test split"
        found = f"{number_of(count, 'test persona')} wanted, {len(able)} have {needed}"
        raise ConfigError(found, hint="ask for fewer, or lower data.min_heldout_dialogues")
    return sorted(able, key=lambda name: (dialogues.get(name, 0), name))[:count]


def known_only(wanted: Sequence[str], test: Sequence[Task], min_dialogues: int) -> list[str]:
    """Return the names, each once; ConfigError lists every one with fewer than ``min_dialogues`` test dialogues."""
    dialogues = {task.persona_id: len(task.dialogues) for task in test}
    problems = [_lacking(name, dialogues, min_dialogues) for name in wanted if dialogues.get(name, 0) < min_dialogues]
    if problems:
        raise ConfigError.of(problems)
    return list(dict.fromkeys(wanted))


def hold_out_speakers(
    training: Sequence[Task], test: Sequence[Task], names: Sequence[str]
) -> tuple[tuple[Task, ...], tuple[Task, ...]]:
    """Return the training tasks without these personas, and the test tasks of them alone."""
    chosen = frozenset(names)
    return (
        tuple(task for task in training if task.persona_id not in chosen),
        tuple(task for task in test if task.persona_id in chosen),
    )


def _lacking(name: str, dialogues: dict[str, int], min_dialogues: int) -> Problem:
    if name in dialogues:
        found = (
            f"test persona {shown(name)} has {number_of(dialogues[name], 'dialogue')} in the test split, "
            f"data.min_heldout_dialogues is {min_dialogues}"
        )
        return Problem("config", found, hint="choose another, or lower data.min_heldout_dialogues")
    near = get_close_matches(name, dialogues, n=1)
    listed = ", ".join(sorted(dialogues, key=dialogues.__getitem__)[:NAMES_LISTED])
    hint = f"did you mean {near[0]}?" if near else f"choose among {listed}"
    return Problem("unknown_persona", f"nobody in the test split is called {shown(name)}", hint=hint)
