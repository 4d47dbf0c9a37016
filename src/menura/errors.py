"""Every error Menura raises on purpose: a tree, each class with its exit code, each error with its word code.

MenuraError
├── ConfigError         2  a setting or an argument that cannot be meant
├── DataError           3  input that is not what it should be; lists every problem at once
│   ├── EpisodeError    3  a persona has too few dialogues for the shots asked
│   └── MismatchError   3  weights made for another base, chat format or set of modules
├── UnsafeError         4  refused because reading it could do harm
├── StorageError        5  disk full, not readable, not writable, not reachable
├── NumericalError      6  not-a-number, divergence, out of memory
├── PeerError           7  another process of the same run was lost
├── BusyError           8  the same run or workspace is in use
│   ├── OverloadedError 8  more is asked of the server than it may run and queue
│   ├── UnavailableError 8  the server is starting or stopping
│   └── PersonaChangedError 8  a persona was deleted while it replied
├── EngineError         1  the server's engine failed at a request that had nothing wrong
├── BelowTargetError    9  a score below what ``--fail-if`` asked for
├── RequestError        2  a request over HTTP that says what it may not, or comes from whom it may not
└── Stopped       130/143  stopped by a signal, state saved
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

SHOWN_AT_MOST = 80  # characters of the input that a message repeats
LISTED_AT_MOST = 20  # problems printed one by one; the rest is counted


@dataclass(frozen=True)
class Problem:
    """One thing wrong in one place: what, where, and what to type about it."""

    code: str
    message: str
    place: str = ""  # "file:line:column", as far as it is known
    hint: str = ""
    level: Literal["error", "warn"] = "error"
    count: int = 1  # how many places had the same problem

    def __str__(self) -> str:
        place = f"{printable(self.place)}: " if self.place else ""
        times = f" ({self.count} places)" if self.count > 1 else ""
        hint = f" (hint: {self.hint})" if self.hint else ""
        return f"{self.level}[{self.code}]: {place}{self.message}{times}{hint}"


def merge_alike(problems: Sequence[Problem]) -> list[Problem]:
    """Fold problems of the same code and message into the first one, with a count."""
    merged: dict[tuple[str, str, str], Problem] = {}
    for problem in problems:
        key = (problem.level, problem.code, problem.message)
        first = merged.get(key)
        merged[key] = problem if first is None else replace(first, count=first.count + problem.count)
    return list(merged.values())


class MenuraError(Exception):
    """What went wrong, as problems a user can act on; ``exit_code`` is the process's."""

    exit_code = 1
    code = "internal"

    def __init__(self, message: str, *, hint: str = "", place: str = "", code: str | None = None) -> None:
        self.problems: list[Problem] = [Problem(code or self.code, message, place=place, hint=hint)]
        super().__init__(message)

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> "MenuraError":
        """Make one error that carries all the problems found."""
        error = cls(problems[0].message)
        error.problems = list(problems)
        return error

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems[:LISTED_AT_MOST]]
        more = len(self.problems) - LISTED_AT_MOST
        return "\n".join([*lines, f"… and {more} more"] if more > 0 else lines)


class ConfigError(MenuraError):
    """A setting, a name or an argument that cannot be meant."""

    exit_code = 2
    code = "config"


class DataError(MenuraError):
    """Input data that is not what it should be."""

    exit_code = 3
    code = "data"


class EpisodeError(DataError):
    """A persona has too few dialogues for the support and query asked."""

    code = "too_few_dialogues"


class MismatchError(DataError):
    """Weights that were made for another base, chat format or set of modules."""

    code = "base_mismatch"


class UnsafeError(MenuraError):
    """Refused: reading it could run code or exhaust the machine."""

    exit_code = 4
    code = "unsafe_format"


class StorageError(MenuraError):
    """The disk or a source is full, unreadable, unwritable or unreachable."""

    exit_code = 5
    code = "storage_error"


class NumericalError(MenuraError):
    """A number that is not finite, a diverging run, or not enough memory."""

    exit_code = 6
    code = "not_finite"


class PeerError(MenuraError):
    """Another process of the same run was lost."""

    exit_code = 7
    code = "lost_peer"


class BusyError(MenuraError):
    """Another process holds the same run or workspace."""

    exit_code = 8
    code = "locked"


class OverloadedError(BusyError):
    """The server runs and queues as much as it may; ``retry_after`` is in seconds."""

    code = "overloaded"

    def __init__(self, message: str, *, retry_after: int = 1, hint: str = "", code: str | None = None) -> None:
        super().__init__(message, hint=hint, code=code)
        self.retry_after = retry_after


class UnavailableError(BusyError):
    """The server is starting, or stopping and takes nothing new."""

    code = "unavailable"


class PersonaChangedError(BusyError):
    """The persona was deleted while it replied."""

    code = "persona_changed"


class EngineError(MenuraError):
    """The engine failed at a request that had nothing wrong; the request may be sent again."""

    code = "engine_error"


class BelowTargetError(MenuraError):
    """A score is below what ``--fail-if`` asked for."""

    exit_code = 9
    code = "below_target"


class RequestError(MenuraError):
    """A request over HTTP that cannot be answered: by what it says, how it says it, or who asks.

    ``place`` is the field of the body, such as ``messages[3].role``; ``retry_after`` is in seconds, None: do not.
    """

    exit_code = 2
    code = "invalid_value"

    def __init__(
        self, message: str, *, code: str | None = None, place: str = "", hint: str = "", retry_after: int | None = None
    ) -> None:
        super().__init__(message, code=code, place=place, hint=hint)
        self.retry_after = retry_after


class Stopped(MenuraError):  # noqa: N818  # nothing went wrong
    """A signal stopped the work; its state is saved, the same command goes on."""

    code = "stopped"

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


def number_of(count: int, one: str, many: str = "") -> str:
    """Return a count with what is counted, ``1 reply`` or ``2,000 replies``; ``many`` is an irregular plural."""
    regular = f"{one[:-1]}ies" if one[-1:] == "y" and one[-2:-1] not in "aeiou" else f"{one}s"
    return f"{count:,} {one if count == 1 else many or regular}"


def printable(text: str) -> str:
    """Return text with its control characters but line breaks escaped, so that it moves no terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def shown(text: str) -> str:
    """Quote at most 80 characters of untrusted text, control characters escaped."""
    cut = text if len(text) <= SHOWN_AT_MOST else text[: SHOWN_AT_MOST - 1] + "…"
    return ascii(cut) if any(not c.isprintable() for c in cut) else repr(cut)
