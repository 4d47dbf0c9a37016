"""What a persona consists of, as the rows of a table: weights, a prompt, recalled exchanges, a cache."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from menura.adaptation.weights import PersonaWeights
from menura.batches.encode import EncodedDialogue, EncodedExchange
from menura.models.layers.neural_cache import NeuralCache

Before = Callable[[EncodedExchange], Sequence[EncodedDialogue]]  # what is read before a context
Part = Literal["weights", "prompt", "memory", "cache"]
BASE, UNADAPTED, WRONG, ADAPTED = "base", "un-adapted", "wrong persona", "adapted"
UPPER = "upper bound"  # the row with the candidates nearest to the references: an oracle
REAL = "real replies"  # the row with the references as replies: what a classifier makes of the persons themselves
PROMPT, BOTH = "prompt", "adapted + prompt"
RECALLED, ADAPTED_RECALLED = "recalled", "adapted + recalled"
CACHED, RECALLED_CACHED = "adapted + cache", "adapted + recalled + cache"


@dataclass(frozen=True)
class Kind:
    """A row by the parts of a persona that it uses, and which rows of the same K it is compared with.

    ``wrong`` is the row in which the parts are somebody else's; empty where there is none.
    """

    name: str
    parts: frozenset[Part]
    wrong: str = ""
    compared: tuple[str, ...] = ()


KINDS = (
    Kind(ADAPTED, frozenset({"weights"}), WRONG, (WRONG, PROMPT)),
    Kind(PROMPT, frozenset({"prompt"}), f"wrong persona's {PROMPT}", (f"wrong persona's {PROMPT}",)),
    Kind(BOTH, frozenset({"weights", "prompt"}), "", (PROMPT, ADAPTED)),
    Kind(RECALLED, frozenset({"memory"}), f"wrong persona's {RECALLED}", (f"wrong persona's {RECALLED}", PROMPT)),
    Kind(ADAPTED_RECALLED, frozenset({"weights", "memory"}), "", (ADAPTED, RECALLED, PROMPT)),
    Kind(CACHED, frozenset({"weights", "cache"}), "", (ADAPTED, PROMPT)),
    Kind(
        RECALLED_CACHED,
        frozenset({"weights", "memory", "cache"}),
        f"wrong persona's {RECALLED_CACHED}",
        (f"wrong persona's {RECALLED_CACHED}", ADAPTED_RECALLED, PROMPT),
    ),
)
WITHOUT_SHOTS = (BASE, UNADAPTED, UPPER, REAL)
COMPARED = {kind.name: (*WITHOUT_SHOTS, *kind.compared) for kind in KINDS}
COMPARED |= {kind.wrong: (UNADAPTED,) for kind in KINDS if kind.wrong}  # does somebody else's persona harm?
OF_WEIGHTS = tuple(row for kind in KINDS if "weights" in kind.parts for row in (kind.name, kind.wrong) if row)


@dataclass(frozen=True)
class System:
    """A persona as one row uses it: weights, what is read before a context, a cache of its words."""

    kind: Kind
    weights: PersonaWeights = field(default_factory=dict, repr=False)
    before: Before | None = None
    cache: NeuralCache | None = field(default=None, repr=False)


UNCHANGED = System(Kind(UNADAPTED, frozenset()))


def kinds_with(parts: frozenset[Part]) -> Iterator[Kind]:
    """Yield the rows that can be made of these parts of a persona, in the order of a table."""
    return (kind for kind in KINDS if kind.parts <= parts)
