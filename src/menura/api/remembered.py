"""What a persona remembers, as its owner sees it: read, forgotten, redacted, in all its versions at once."""

from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from menura.artefacts import persona_artefact, persona_store
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.artefacts.persona_memory import RememberedExchanges, no_memory
from menura.artefacts.persona_store import path_of
from menura.corpus.chats.cleaning.privacy import redacted
from menura.corpus.dialogue import Turn
from menura.errors import ConfigError, number_of
from menura.tasks.task import Exchange


@dataclass(frozen=True)
class MemoryChange:
    """What became of a memory: exchanges ``left``, ``forgotten`` and ``redacted``; in how many ``versions`` of it."""

    left: int
    forgotten: int = 0
    redacted: int = 0
    versions: int = 0

    def __str__(self) -> str:
        """Return the change in words."""
        did = [
            f"{what} {number_of(count, 'exchange')}"
            for what, count in (("forgot", self.forgotten), ("redacted", self.redacted))
            if count
        ]
        return f"{' and '.join(did) or 'nothing changed'}; {number_of(self.left, 'exchange')} left"


def persona_memory(name: str, line: str = "") -> list[dict[str, Any]]:
    """Return the exchanges that a persona remembers as plain data: ``number``, ``dialogue``, ``before`` and ``reply``.

    With a ``line`` those alone that fit it, in the order in which they are recalled, the best first. Raises ConfigError
    for a persona that is not there, or that remembers nothing.
    """
    memory = _memory(persona_store.load(name))
    places = memory.recall.ranked([Turn("", line)]) if line else range(len(memory.exchanges))
    return [_facts(place + 1, memory.exchanges[place]) for place in places]


def change_memory(
    name: str,
    *,
    forget: Collection[int] = (),
    redact: bool = False,
    clear: bool = False,
    dry_run: bool = False,
) -> MemoryChange:
    """Take exchanges out of a persona's memory and of its earlier versions': by number, all, or private details alone.

    What the weights have learnt from them stays. With ``dry_run`` nothing is written. All files are read before the
    first is written. Raises ConfigError for a persona that remembers nothing and for numbers that are none of its.
    """
    with nullcontext() if dry_run else persona_store.changing():
        return _changed_in_all(name, forget, redact=redact, clear=clear, dry_run=dry_run)


def _changed_in_all(name: str, forget: Collection[int], *, redact: bool, clear: bool, dry_run: bool) -> MemoryChange:
    memory = _memory(persona_store.load(name))
    wrong = [number for number in sorted(forget) if not 1 <= number <= len(memory.exchanges)]
    if wrong:
        listed = ", ".join(map(str, wrong))
        message = f"--forget {listed}: persona {name} remembers exchanges 1 to {len(memory.exchanges)}"
        raise ConfigError(message, hint=f"menura persona memory {name}", code="unknown_exchange")
    unwanted = {exchange for place, exchange in enumerate(memory.exchanges) if clear or place + 1 in forget}
    files = [path_of(version) for version in (*persona_store.versions(name), name)]
    before = {path: persona_artefact.read(path) for path in files}
    after = {path: _changed(artefact, unwanted, redact=redact, clear=clear) for path, artefact in before.items()}
    changed = [path for path in files if after[path].memory != before[path].memory]
    if not dry_run:
        for path in changed:
            after[path].write(path)
    left = after[files[-1]].memory
    kept = [exchange for exchange in memory.exchanges if exchange not in unwanted]
    now = left.exchanges if left else ()
    return MemoryChange(
        len(now), len(unwanted), sum(old != new for old, new in zip(kept, now, strict=True)), len(changed)
    )


def _changed(
    artefact: PersonaArtefact, unwanted: Collection[Exchange], *, redact: bool, clear: bool
) -> PersonaArtefact:
    if artefact.memory is None:
        return artefact
    memory = artefact.memory.without(_places(artefact.memory, unwanted))
    if redact:
        memory, _ = memory.rewritten(redacted)
    return replace(artefact, memory=memory if memory.exchanges and not clear else None)


def _places(memory: RememberedExchanges, unwanted: Collection[Exchange]) -> list[int]:
    return [place for place, exchange in enumerate(memory.exchanges) if exchange in unwanted]


def _memory(persona: PersonaArtefact) -> RememberedExchanges:
    if persona.memory is None:
        raise no_memory(f"persona {persona.name}", f"menura adapt {persona.name} FILES --remember")
    return persona.memory


def _facts(number: int, exchange: Exchange) -> dict[str, Any]:
    return {
        "number": number,
        "dialogue": exchange.dialogue_id,
        "before": exchange.context[-1].text if exchange.context else "",
        "reply": exchange.reply.text,
    }
