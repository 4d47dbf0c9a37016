"""What a reader meets becomes dialogues and problems: the same findings serve strict reading and checking."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from menura.corpus.dialogue import Dialogue, Profile, Turn, joined
from menura.errors import DataError, Problem, shown

Found = Dialogue | Problem
NAME_LIMIT = 128  # characters of a speaker's name
INDEX = re.compile(r"\[\d+\]")


@dataclass
class Draft:
    """A dialogue while it is read: what was said so far, and what was wrong with it."""

    dialogue_id: str
    place: str
    turns: list[Turn] = field(default_factory=list)
    facts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    candidates: dict[int, tuple[str, ...]] = field(default_factory=dict)
    profiles: dict[str, Profile] = field(default_factory=dict)
    context_only: set[int] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    def say(self, turn: Turn, place: str, candidates: tuple[str, ...] = ()) -> None:
        """Add a turn; what one speaker says in a row becomes one turn, with a warning."""
        self._name_is_good(turn.speaker, place)
        before = len(self.turns)
        self.turns[-1:] = joined((*self.turns[-1:], turn))
        index = len(self.turns) - 1
        if index == before and candidates:
            self.candidates[index] = candidates
        elif index < before:
            self.warn("same_speaker", "one speaker twice in a row; joined", place)
            # The given candidates rival one half of the joined reply, not the whole of it.
            if self.candidates.pop(index, ()) or candidates:
                self.warn("candidates_dropped", "candidates of a joined reply; dropped", place)

    def wrong(self, message: str, place: str, *, hint: str = "", code: str = "schema") -> None:
        """Note a defect that makes the dialogue unusable."""
        self.problems.append(Problem(code, message, place, hint))

    def warn(self, code: str, message: str, place: str) -> None:
        """Note what the reader changed or dropped by itself."""
        self.problems.append(Problem(code, message, place, level="warn"))

    def found(self) -> Iterator[Found]:
        """Yield the problems, then the dialogue if it is sound and has two speakers."""
        if not self.turns and not self._broken():
            self.wrong("dialogue without turns", self.place)
        if not self._broken() and len({turn.speaker for turn in self.turns}) == 1:
            self.warn("one_speaker", "dialogue of one speaker; dropped", self.place)
            yield from self.problems
            return
        yield from self.problems
        if not self._broken():
            yield Dialogue(
                self.dialogue_id,
                tuple(self.turns),
                self.facts,
                self.candidates,
                self.profiles,
                frozenset(self.context_only),
            )

    def _broken(self) -> bool:
        return any(problem.level == "error" for problem in self.problems)

    def _name_is_good(self, name: str, place: str) -> None:
        if not name.strip() or len(name) > NAME_LIMIT or any(ord(c) < 32 for c in name):
            allowed = f"1 to {NAME_LIMIT} characters, no control characters"
            self.wrong(f"speaker's name {shown(name)} is not allowed ({allowed})", place, code="bad_name")


def kind_of(problem: Problem) -> tuple[str, str, str]:
    """Return what problems of one kind have in common: all but place and hint, and which entry of an array it was."""
    return problem.level, problem.code, INDEX.sub("[]", problem.message)


def merged(problems: Iterable[Problem]) -> list[Problem]:
    """Fold problems of one kind into the first of them, with a count; errors come first."""
    kinds: dict[tuple[str, str, str], Problem] = {}
    for problem in problems:
        kind = kind_of(problem)
        first = kinds.get(kind)
        kinds[kind] = problem if first is None else replace(first, count=first.count + problem.count)
    return sorted(kinds.values(), key=lambda problem: problem.level)


@dataclass(frozen=True)
class Findings:
    """Everything one file gave: sound dialogues in order, and all problems."""

    dialogues: tuple[Dialogue, ...]
    problems: tuple[Problem, ...]


def gathered(found: Iterable[Found], name: str) -> Findings:
    """Collect what a reader found in file ``name``, and judge the file as a whole."""
    dialogues: list[Dialogue] = []
    problems: list[Problem] = []
    ids: set[str] = set()
    for item in found:
        if isinstance(item, Problem):
            problems.append(item)
        elif item.dialogue_id in ids:
            problems.append(Problem("schema", f"dialogue_id {shown(item.dialogue_id)} stands twice", name))
        else:
            ids.add(item.dialogue_id)
            dialogues.append(item)
    if not dialogues and all(problem.level == "warn" for problem in problems):
        problems.append(Problem("empty", "no dialogues found", name))
    return Findings(tuple(dialogues), tuple(problems))


def strict(found: Iterable[Found], name: str) -> Iterator[Dialogue]:
    """Return the dialogues of a file without errors; raise one DataError with all errors of any other."""
    findings = gathered(found, name)
    errors = [problem for problem in findings.problems if problem.level == "error"]
    if errors:
        raise DataError.of(errors)
    return iter(findings.dialogues)
