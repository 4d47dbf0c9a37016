"""Messages as a chat's file has them, before they become turns, and notes on what reading changed and left out."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from menura.corpus.findings import kind_of
from menura.errors import Problem, number_of

KINDS_LIMIT = 1000  # of problems that are told apart
# Of the kinds that are counted, the names that one of them has, or several; all others are the same for both.
ONE = {
    "HTML tags": "HTML tag",
    "HTML entities": "HTML entity",
    "ANSI sequences": "ANSI sequence",
    "control characters": "control character",
    "invisible characters": "invisible character",
    "line ends (CR)": "line end (CR)",
    "edited marks": "edited mark",
}
MANY = {
    "dialogue of one person": "dialogues of one person",
    "tool call without text": "tool calls without text",
    "link alone": "links alone",
    **{kind: f"{kind}s" for kind in ("call", "contact", "forward", "location", "poll", "sound", "sticker")},
}


class Stamp(NamedTuple):
    """A date as three numbers in the order of the file, and the seconds since midnight.

    ``order`` is "ymd", "dmy" or "mdy" where the format tells it, empty where the file as a whole must. A year that is
    not written is 0. ``noon_marks`` tells that the time had AM or PM.
    """

    date: tuple[int, int, int]
    seconds: int
    order: str = ""
    noon_marks: bool = False


@dataclass(slots=True)
class Message:
    """One message.

    ``speaker`` is empty for a line that nobody wrote. ``line`` is its place: the number of the line or of the message,
    from 1. ``dropped`` is why the reader does not take it as a turn, empty if it does. A message that is not
    ``learnt`` is context for others and never a reply to learn from.
    """

    speaker: str
    text: str
    line: int = 0
    time: Stamp | None = None
    dropped: str = ""
    learnt: bool = True


@dataclass(frozen=True, slots=True)
class Start:
    """A dialogue begins here. ``blank`` marks a blank line, which may mean nothing where all lines are apart."""

    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dialogue_id: str = ""
    blank: bool = False


Event = Message | Start


def listed_kinds(counts: Counter[str]) -> str:
    """Return counts by kind as text, the most frequent first: ``3 system, 1 dialogue of one person``."""
    return ", ".join(
        number_of(count, ONE.get(kind, kind), MANY.get(kind, kind)) for kind, count in counts.most_common() if count
    )


@dataclass
class Notes:
    """What reading a chat changed, left out and found doubtful, counted by kind.

    ``persona`` is whose persona it is where the file says so, ``facts`` are those of the whole file by speaker,
    ``first_lines`` what the persona says first, ``card`` is the character card that the file is, as JSON of version 3.
    ``labels`` are names that are the format's own or ids, which may be alike. ``first_time`` is the time of the first
    message that was met, ``order`` the order of dates as the file has it, ``first`` and ``last`` are the times of
    messages kept, ``cut`` is what ends a dialogue.
    """

    name: str
    changed: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    context_only: Counter[str] = field(default_factory=Counter)
    private: Counter[str] = field(default_factory=Counter)
    first_private: dict[str, int] = field(default_factory=dict)  # the first line of each kind
    facts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    first_lines: list[str] = field(default_factory=list)
    labels: set[str] = field(default_factory=set)
    persona: str = ""
    first_time: str = ""
    starts: bool = False  # the file says where dialogues begin, though not every one of its format does
    order: str = ""
    first: str = ""
    last: str = ""
    cut: str = ""
    card: Mapping[str, Any] = field(default_factory=dict)
    _problems: dict[tuple[str, str, str], Problem] = field(default_factory=dict)

    def warn(self, code: str, message: str, line: int = 0, *, hint: str = "", count: int = 1) -> None:
        """Note something doubtful; the same message at several places is one problem with a count."""
        self.add(Problem(code, message, self.place(line), hint, "warn", count))

    def wrong(self, code: str, message: str, line: int = 0, *, hint: str = "") -> None:
        """Note a fault for which the file is refused when it is read to the end."""
        self.add(Problem(code, message, self.place(line), hint))

    def add(self, problem: Problem) -> None:
        """Note a problem, merged with one that is equal but for places and indices."""
        key = kind_of(problem)
        if len(self._problems) >= KINDS_LIMIT and key not in self._problems:
            key = (problem.level, problem.code, "")
            problem = replace(problem, message=f"further ones of this kind, such as: {problem.message}")
        known = self._problems.get(key)
        if known is None:
            self._problems[key] = problem
        else:
            self._problems[key] = replace(known, count=known.count + problem.count)

    def place(self, line: int) -> str:
        """Return ``file:line``, or the file alone for line 0."""
        return f"{self.name}:{line}" if line else self.name

    @property
    def problems(self) -> list[Problem]:
        """All problems so far, errors first."""
        return sorted(self._problems.values(), key=lambda problem: problem.level)

    @property
    def errors(self) -> list[Problem]:
        """The problems for which the file is refused."""
        return [problem for problem in self._problems.values() if problem.level == "error"]
