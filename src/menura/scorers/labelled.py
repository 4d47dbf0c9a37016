"""Dialogues become labelled replies: the last turn, by who says it."""

from collections.abc import Sequence
from pathlib import Path

from menura.corpus import catalogue
from menura.scorers.classifier import LabelledText


def read(files: Sequence[Path]) -> list[LabelledText]:
    """Return each dialogue's last turn with its speaker as the label: in MojiTalk the emoji of the reply."""
    dialogues = catalogue.read(files)
    return [LabelledText((d.turns[-1].text,), d.turns[-1].speaker) for d in dialogues if d.turns]
