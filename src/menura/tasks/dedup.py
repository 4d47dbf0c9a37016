"""Removes repeated dialogues: a training dialogue is never repeated in a held-out split."""

import re
from dataclasses import replace

from menura.corpus.dialogue import Dialogue
from menura.tasks.split import Splits
from menura.tasks.task import Task

Text = tuple[str, ...]
NO_WORD = re.compile(r"\W+")


def deduplicated(made: Splits) -> Splits:
    """Return splits in which no dialogue has the same text as one of a later split.

    Case, blanks and punctuation are ignored, as mirrors of a data set differ in them. The first split (``train``) also
    keeps only one of several equal dialogues; the last split is not changed. ``repeated`` counts the dialogues that a
    split lost; personas with too few left are dropped.
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
    """Return the text turn by turn: letters and digits in lower case, or the whole turn if it has none."""
    return tuple(NO_WORD.sub("", turn.text.lower()) or turn.text.strip() for turn in dialogue.turns)


def _dialogues(task: Task) -> list[Dialogue]:
    return [part.dialogue for part in task.dialogues]


def _copies(texts: dict[str, Text]) -> set[str]:
    """Return the dialogues whose text equals that of an earlier one."""
    seen: set[Text] = set()
    copies = set()
    for name, text in texts.items():
        if text in seen:
            copies.add(name)
        seen.add(text)
    return copies


def _without(task: Task, unwanted: set[str]) -> Task:
    return replace(task, dialogues=tuple(part for part in task.dialogues if part.dialogue.dialogue_id not in unwanted))
