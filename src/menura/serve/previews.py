"""A file that was sent becomes what a person should see before a persona is made of it, as plain data."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from menura.corpus.chats.reading import ReadOptions
from menura.corpus.check import Report, check
from menura.corpus.dialogue import Dialogue
from menura.errors import LISTED_AT_MOST, Problem

DIALOGUES_SHOWN, TURNS_SHOWN, CHARACTERS_SHOWN = 5, 30, 1000
SPEAKERS_SHOWN = 50
PLACE = re.compile(r"(?P<file>.*?):(?P<line>\d+)(?::(?P<column>\d+))?")
NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")
NAME_LENGTH = 64  # of a persona


def previewed(path: Path, format: str | None, options: ReadOptions) -> dict[str, Any]:
    """Return what a file holds and what is wrong with it, as ``menura data check`` finds it.

    ``speakers`` are sorted by their replies. ``dialogues`` are the first few, cut to what a page shows. Raises
    ConfigError for an unknown format, UnsafeError for a file that must not be read.
    """
    seen = _Seen()
    reports = check(path, format, None, options, seen.add)
    problems = [problem for report in reports for problem in report.problems]
    problems.sort(key=lambda problem: problem.level)
    owners = sorted({report.notes.persona for report in reports if report.notes and report.notes.persona})
    return {
        "files": [_file(report) for report in reports],
        "speakers": seen.speakers(owners),
        "facts": _card_facts(reports),
        "dialogues": seen.dialogues,
        "errors": sum(problem.level == "error" for problem in problems),
        "problems": [plain_problem(problem) for problem in problems[:LISTED_AT_MOST]],
        "problems_left_out": max(0, len(problems) - LISTED_AT_MOST),
        "owners": owners,
        "card": any(report.notes is not None and bool(report.notes.card) for report in reports),
    }


def plain_problem(problem: Problem) -> dict[str, Any]:
    """Return a problem as plain data, its place parted into file and line (None where it has none)."""
    placed = PLACE.fullmatch(problem.place)
    file, line = (placed["file"], int(placed["line"])) if placed else (problem.place, None)
    plain = {name: getattr(problem, name) for name in ("level", "code", "message", "hint", "count")}
    return {**plain, "file": file, "line": line}


def suggested_name(speaker: str, others: Sequence[str]) -> str:
    """Return a name that the persona of a speaker may have, and none of ``others``; empty without letters."""
    letters = unicodedata.normalize("NFKD", speaker).encode("ascii", "ignore").decode().lower()
    name = NOT_IN_NAMES.sub("-", letters).strip("-")[: NAME_LENGTH - 4].strip("-")
    free = (one for one in (name, *(f"{name}-{number}" for number in range(2, 1000))) if one not in others)
    return next(free, "") if name else ""


@dataclass
class _Seen:
    """What the dialogues of all files hold, while they come one by one."""

    turns: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    talks: Counter[str] = field(default_factory=Counter)
    dialogues: list[list[dict[str, Any]]] = field(default_factory=list)

    def add(self, dialogue: Dialogue) -> None:
        self.turns.update(turn.speaker for turn in dialogue.turns)
        self.replies.update(turn.speaker for turn in dialogue.turns[1:])
        self.talks.update(dialogue.speakers)
        if len(self.dialogues) < DIALOGUES_SHOWN:
            self.dialogues.append(_shown(dialogue))

    def speakers(self, owners: Sequence[str]) -> list[dict[str, Any]]:
        """Return who speaks, and whose card it is: a card may have no word of its own."""
        names = {*self.turns, *owners}
        most = sorted(names, key=lambda name: (-self.replies[name], -self.turns[name], name))
        counts: Mapping[str, Counter[str]] = {"turns": self.turns, "replies": self.replies, "dialogues": self.talks}
        return [
            {"name": name, **{what: counted[name] for what, counted in counts.items()}}
            for name in most[:SPEAKERS_SHOWN]
        ]


def _card_facts(reports: Sequence[Report]) -> list[str]:
    """Return the first facts that cards tell of whom they are of."""
    cards = [report.notes for report in reports if report.notes and report.notes.card]
    facts = [fact for notes in cards for fact in notes.facts.get(notes.persona, ())]
    return [fact[:CHARACTERS_SHOWN] for fact in facts[:TURNS_SHOWN]]


def _shown(dialogue: Dialogue) -> list[dict[str, Any]]:
    """Return a dialogue's first turns; ``learnt`` False marks those that are context alone."""
    return [
        {
            "speaker": turn.speaker,
            "text": turn.text[:CHARACTERS_SHOWN],
            "learnt": index > 0 and index not in dialogue.context_only,
        }
        for index, turn in enumerate(dialogue.turns[:TURNS_SHOWN])
    ]


def _file(report: Report) -> dict[str, Any]:
    counts = {name: getattr(report.statistics, name) for name in ("dialogues", "turns", "words")}
    plain = {"name": report.name, "format": report.format, "title": report.title, "reason": report.reason, **counts}
    notes = report.notes
    if notes is None:
        return plain
    kinds = ("dropped", "changed", "context_only", "private")
    times = {"first": notes.first, "last": notes.last, "dates": notes.order, "cut": notes.cut}
    return {**plain, **{name: dict(+getattr(notes, name)) for name in kinds}, **times}
