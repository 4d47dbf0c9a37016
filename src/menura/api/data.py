"""A person's files of dialogues: check, count, split, convert."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from menura.corpus.chats.reading import NO_OPTIONS, ReadOptions
from menura.corpus.inputs import Input, dialogues_of, inputs
from menura.corpus.summary import summaries

if TYPE_CHECKING:
    from menura.corpus.check import Report
    from menura.corpus.dialogue import Dialogue
    from menura.corpus.statistics import Statistics
    from menura.tasks.split import Splits


@dataclass(frozen=True)
class Counts:
    """What files hold, and for each chat among them what reading it found, as text."""

    statistics: "Statistics"
    summaries: tuple[str, ...]


def check_file(
    file: Path, format: str | None = None, speaker: str | None = None, options: ReadOptions = NO_OPTIONS
) -> "list[Report]":
    """Return, for each file that a path holds, everything that is wrong with it; nothing is written."""
    from menura.corpus.check import check

    return check(file, format, speaker, options)


def formats() -> dict[str, str]:
    """Return all formats of files by name, each with what people call it."""
    from menura.corpus.catalogue import FORMATS

    return {name: entry.title for name, entry in FORMATS.items()}


def count(files: Sequence[Path], format: str | None = None, options: ReadOptions = NO_OPTIONS) -> Counts:
    """Return counts of dialogues, turns, words and replies; DataError with all that is wrong in any file."""
    from menura.corpus.statistics import statistics

    read = _inputs(files, format, options)
    counted = statistics(dialogues_of(read))
    return Counts(counted, tuple(summaries([one for one in read if one.notes])))


def split(
    files: Sequence[Path],
    shares: Mapping[str, float],
    *,
    out: Path | None,
    min_heldout_dialogues: int = 2,
    seed: int = 0,
    format: str | None = None,
) -> "Splits":
    """Return splits that share no persona and no dialogue; ``out`` is where they are recorded, None: nowhere."""
    from menura.artefacts.files import write_json
    from menura.tasks.persona_groups import grouped
    from menura.tasks.split import split_tasks

    tasks = grouped(_dialogues(files, format))
    needed = dict.fromkeys(("valid", "test"), min_heldout_dialogues)
    splits = split_tasks(tasks, shares, seed=seed, min_dialogues=needed)
    splits.verify()
    if out is not None:
        write_json(out, splits.record())
    return splits


def convert(
    files: Sequence[Path],
    out: Path | None,
    to: str = "jsonl",
    format: str | None = None,
    options: ReadOptions = NO_OPTIONS,
    say: Callable[[str], None] = lambda line: None,
) -> int:
    """Write dialogues in another format (``out`` None: only read them); return how many there are.

    ``say`` gets what was left out and changed. Raises DataError, with the reason, where something would be lost.
    """
    from menura.corpus.convert import write

    read = _inputs(files, format, options)
    dialogues = list(dialogues_of(read))
    for line in summaries([one for one in read if one.notes]):
        say(line)
    if out is not None:
        write(dialogues, out, to)
    return len(dialogues)


def _dialogues(files: Sequence[Path], format: str | None) -> "list[Dialogue]":
    return list(dialogues_of(_inputs(files, format, NO_OPTIONS)))


def _inputs(files: Sequence[Path], format: str | None, options: ReadOptions) -> list[Input]:
    from menura.corpus import chitchat

    return inputs([chitchat.installed() if str(file) == "chitchat" else file for file in files], format, options)
