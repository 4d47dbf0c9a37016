"""A persona that takes no time to make; imported by processes that are killed, so it imports little."""

from dataclasses import replace
from typing import Any

from menura.artefacts.persona_artefact import PersonaArtefact
from menura.artefacts.persona_memory import RememberedExchanges
from menura.corpus.dialogue import Turn
from menura.tasks.task import Exchange


def made_persona(name: str, words: str = "", **changes: Any) -> PersonaArtefact:
    """Return a persona without weights, which remembers ``words`` where there are any."""
    recipe: dict[str, Any] = {"method": {"name": "finetune"}, "speaker": name, "shots": 1, "replies": 2}
    memory = None
    if words:
        exchange = Exchange("d", (Turn("you", f"asked {words}"),), Turn(name, f"said {words}"))
        memory = RememberedExchanges((exchange,))
    model = {"name": "causal_lm", "base": "tiny"}
    return replace(PersonaArtefact(name, {}, "b" * 64, "", model, (), recipe, memory=memory), **changes)
