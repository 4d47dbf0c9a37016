"""A file becomes a report: what is in it, and everything that is wrong, without using any of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from menura.corpus.chats.message import Notes
from menura.corpus.chats.reading import NO_OPTIONS, ReadOptions
from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.findings import merged
from menura.corpus.inputs import Input, inputs
from menura.corpus.language import Language
from menura.corpus.speakers import NAMES_LISTED, few, speaker_hint
from menura.corpus.statistics import Counting, Statistics, statistics
from menura.errors import DataError, Problem, shown


@dataclass(frozen=True)
class Report:
    """What a file holds; ``statistics`` are of its sound dialogues, ``problems`` alike ones folded, errors first.

    ``notes`` say what reading a chat changed and left out; None for a data set, which is read as it is.
    """

    name: str
    format: str  # empty if it was not recognised
    title: str
    reason: str
    statistics: Statistics
    problems: tuple[Problem, ...]
    notes: Notes | None = None

    @property
    def errors(self) -> list[Problem]:
        """The problems that forbid using the file."""
        return [problem for problem in self.problems if problem.level == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """What reading would change or drop."""
        return [problem for problem in self.problems if problem.level == "warn"]


def check(
    path: Path,
    format: str | None = None,
    speaker: str | None = None,
    options: ReadOptions = NO_OPTIONS,
    each: Callable[[Dialogue], object] = lambda dialogue: None,
) -> list[Report]:
    """Return a report on each file that a path holds, bad or good; ``speaker`` is who should be found in it.

    ``each`` is called with every sound dialogue, in the order of the files.
    Raises ConfigError for an unknown format, StorageError for a file that cannot be read and UnsafeError for one that
    must not be.
    """
    try:
        found = inputs(path, format, options)
    except DataError as error:
        nothing = statistics(())
        return [Report(str(path), "", "", "", nothing, tuple(merged(error.problems)))]
    return [_report(one, speaker, each) for one in found]


def _report(one: Input, speaker: str | None, each_too: Callable[[Dialogue], object]) -> Report:
    counting, copies, language, name = Counting(), _Copies(), Language(), one.file.name
    replied_in = 0  # dialogues in which the speaker does

    def each(dialogue: Dialogue) -> None:
        nonlocal replied_in
        replied_in += any(turn.speaker == speaker for turn in dialogue.turns[1:])
        counting.add(dialogue)
        for turn in dialogue.turns:
            language.add(turn.text)
        if one.notes is None:  # a chat's are noted when it is read
            copies.add(dialogue)
        each_too(dialogue)

    problems = one.findings(each)
    counted = counting.result()
    if copies.count:
        problems.append(Problem("duplicate", "dialogue stands there more than once", name, "", "warn", copies.count))
    # Without any dialogue the file's own problems are reported, not that it has no speaker.
    if speaker is not None and counted.dialogues and speaker not in counted.replies:
        problems.append(_unknown_speaker(speaker, counted, name))
    if (
        one.notes and speaker is not None and speaker in counted.replies
    ):  # the chat's own warning is about whoever replies most
        problems = [problem for problem in problems if problem.code != "few"]
        own = few(speaker, counted.replies[speaker], replied_in, place=name, of_card=bool(one.notes.card))
        problems += [own] if own else []
    if one.notes and (other := language.warning("the default base", place=name)):
        problems.append(other)
    entry = one.detected
    return Report(
        name, entry.format.name, entry.format.title, entry.reason, counted, tuple(merged(problems)), one.notes
    )


class _Copies:
    """Counts dialogues that were met before: a copy in both support and query would make scores too good."""

    def __init__(self) -> None:
        self.count = 0
        self._seen: set[tuple[Turn, ...]] = set()

    def add(self, dialogue: Dialogue) -> None:
        self.count += dialogue.turns in self._seen
        self._seen.add(dialogue.turns)


def _unknown_speaker(speaker: str, counted: Statistics, name: str) -> Problem:
    names = list(counted.replies)
    more = f" and {len(names) - NAMES_LISTED} more" if len(names) > NAMES_LISTED else ""
    listed = ", ".join(shown(other) for other in names[:NAMES_LISTED]) + more
    hint = speaker_hint(speaker, list(counted.replies.items()))
    return Problem("unknown_speaker", f"no replies of {shown(speaker)}; speakers are {listed}", name, hint)
