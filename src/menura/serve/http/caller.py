"""Who asks: the key of a request, and which personas it may use."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from starlette.requests import HTTPConnection


@dataclass(frozen=True)
class Caller:
    """The holder of a key. ``key_id`` is empty where no key is needed; ``personas`` are names or patterns (``anna-*``).

    Beside these a caller may use the personas that were made with its key, which the database knows.
    """

    key_id: str = ""
    personas: tuple[str, ...] = ("*",)

    @property
    def all_personas(self) -> bool:
        """Whether every persona may be used."""
        return "*" in self.personas

    def may_use(self, name: str) -> bool:
        """Return whether a persona, or an earlier version of it (``anna@1``), is among its patterns."""
        persona = name.partition("@")[0]
        return any(fnmatchcase(persona, pattern) for pattern in self.personas)


def caller_of(connection: HTTPConnection) -> Caller:
    """Return who asks; every request has passed the guard, which sets it."""
    caller: Caller = connection.state.caller
    return caller
