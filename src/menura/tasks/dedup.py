"""Dialogues that a corpus holds twice are learnt from once, and never where they are judged by."""

import re
from dataclasses import replace

from menura.corpus.dialogue import Dialogue
from menura.tasks.split import Splits
from menura.tasks.task import Task

Text = tuple[str, ...]
NO_WORD = re.compile(r"\W+")


def deduplicated(made: Splits) -> Splits:
    """Return a split whose earlier splits hold no dialogue that says what one of a later split says.

    Case, blanks and punctuation do not count: mirrors of a set differ in them. The first split (``train``) also keeps
    only one of those that say the same; the last stays as it is. ``repeated`` tells how many dialogues a split
    lost; who has too few left is dropped.
    """
    first, *_ = order = list(made.splits)
    later: set[Text] = set()
    splits, dropped, repeated = dict(made.splits), dict(made.dropped), {}
    for split in reversed(order):
        ids = {dialogue.dialogue_id: text_of(dialogue) for task in splits[split] for dialogue in _dialogues(task)}
        unwanted = {name for name, text in ids.items() if text in later}
        if split == first:
            unwanted |= _copies({name: text for name, text in ids.items() if name not in unwanted})
        kept = [_without(task, unwanted) for task in splits[split]]
        splits[split] = tuple(task for task in kept if len(task.dialogues) >= made.plan.asked(split))
        dropped[split] += len(kept) - len(splits[split])
        repeated[split] = len(unwanted)
        later |= set(ids.values())
    return replace(made, splits=splits, dropped=dropped, repeated={split: repeated[split] for split in order})


def text_of(dialogue: Dialogue) -> Text:
    """Return what is said turn by turn: letters and digits in lower case, or all of a turn that has none."""
    return tuple(NO_WORD.sub("", turn.text.lower()) or turn.text.strip() for turn in dialogue.turns)


def _dialogues(task: Task) -> list[Dialogue]:
    return [part.dialogue for part in task.dialogues]


def _copies(texts: dict[str, Text]) -> set[str]:
    """Return the dialogues that say what one before them says."""
    seen: set[Text] = set()
    copies = set()
    for name, text in texts.items():
        if text in seen:
            copies.add(name)
        seen.add(text)
    return copies


def _without(task: Task, unwanted: set[str]) -> Task:
    return replace(task, dialogues=tuple(part for part in task.dialogues if part.dialogue.dialogue_id not in unwanted))
