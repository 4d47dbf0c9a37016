"""What reading a chat found, changed and left out, as lines for people."""

from collections.abc import Sequence

from menura.corpus.chats.message import Notes, listed_kinds
from menura.corpus.inputs import Input
from menura.errors import LISTED_AT_MOST, number_of

SPEAKERS_LISTED = 5


def summaries(found: Sequence[Input], without: str = "") -> list[str]:
    """Return a few lines about each of some inputs that were read to their end, at most 20 of them.

    ``without`` is the code of warnings that are left out.
    """
    told = [summary(one, without) for one in found[:LISTED_AT_MOST]]
    if len(found) > LISTED_AT_MOST:
        told.append(f"read   … and {number_of(len(found) - LISTED_AT_MOST, 'more file')}: menura data check")
    return told


def summary(one: Input, without: str = "") -> str:
    """Return a few lines about an input that was read to its end: what it is, what was left out, what is doubtful."""
    notes, reading = one.notes, one.reading
    head = f"read   {one.file.name}: {one.detected.format.title}"
    if notes is None or reading is None:
        return head
    speakers = [f"{name} {count:,}" for name, count in reading.turns.most_common(SPEAKERS_LISTED)]
    if len(reading.turns) > SPEAKERS_LISTED:
        speakers.append(f"{len(reading.turns) - SPEAKERS_LISTED} more")
    lines = [f"{head} · turns: {', '.join(speakers)}" if speakers else head, *noted(notes)]
    shown = [problem for problem in notes.problems if problem.level == "warn" and problem.code != without]
    lines += [str(problem) for problem in shown[:LISTED_AT_MOST]]
    if len(shown) > LISTED_AT_MOST:
        lines.append(f"… and {len(shown) - LISTED_AT_MOST} more: menura data check")
    return "\n".join(lines)


def noted(notes: Notes) -> list[str]:
    """Return lines about times, cuts, what was left out and what was changed; only those that say something."""
    lines = []
    if notes.first:
        order = f", dates {notes.order}" if notes.order else ""
        lines.append(f"       from {notes.first} to {notes.last}{order}; {notes.cut}".removesuffix("; "))
    for what, counts in (
        ("left out", notes.dropped),
        ("read, not learnt", notes.context_only),
        ("changed", notes.changed),
    ):
        if told := listed_kinds(counts):
            lines.append(f"       {what}: {told}")
    return lines
