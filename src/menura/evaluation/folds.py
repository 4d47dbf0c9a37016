"""A held-out task becomes folds: dialogues to adapt on and dialogues to evaluate on, none in both."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from menura.batches.encode import EncodedDialogue, EncodedExchange, Encoder
from menura.evaluation.settings import Protocol
from menura.memory.stated_facts import stated_facts
from menura.training.data import EncodedTask


@dataclass(frozen=True)
class Fold:
    """One persona's query dialogues, and the other dialogues in the order in which support is taken from them."""

    persona_id: str
    pool: tuple[EncodedDialogue, ...]
    query: tuple[EncodedDialogue, ...]

    def support(self, shots: int) -> tuple[EncodedDialogue, ...]:
        """Return the first ``shots`` support dialogues, or as many as there are."""
        return self.pool[:shots]

    @property
    def exchanges(self) -> list[EncodedExchange]:
        """All query exchanges."""
        return [exchange for dialogue in self.query for exchange in dialogue]


@dataclass(frozen=True)
class PersonaDraw:
    """What is adapted at once: one persona, on so many dialogues of one draw of the support."""

    shots: int
    draw: int
    persona_id: str


def folds_of(task: EncodedTask, protocol: Protocol, *, first: int, queries: int, draw: str = "") -> list[Fold]:
    """Return a task's folds; the queries do not depend on ``draw``.

    ``following``: one fold, the ``queries`` dialogues after the ``first`` ones are its query. ``leave-one-out``: each
    of the first ``queries`` dialogues (0 = all) is the query once (spec section 1.4). The others stand in file order,
    or, with a ``draw``, in an order seeded by it and the persona.
    """
    whole = range(len(task.dialogues))
    if protocol == "following":
        chosen = [whole[first : first + queries]]
    else:
        chosen = [range(index, index + 1) for index in whole[: queries or None]]
    return [_fold(task, query, draw) for query in chosen]


def _fold(task: EncodedTask, query: Sequence[int], draw: str) -> Fold:
    others = [dialogue for index, dialogue in enumerate(task.dialogues) if index not in query]
    if draw:
        random.Random(f"{draw}:{task.persona_id}:{query[0]}").shuffle(others)
    return Fold(task.persona_id, tuple(others), tuple(task.dialogues[index] for index in query))


def asking_for_facts(fold: Fold, encoder: Encoder, shots: int) -> Fold:
    """Return a fold whose queries ask for what the persona said of itself in the first ``shots`` support dialogues."""
    said = [exchange.source for part in fold.support(shots) for exchange in part if exchange.source]
    asked = [(encoder.exchange(fact.asked, fold.persona_id),) for fact in stated_facts(said)]
    return replace(fold, query=tuple(asked))
