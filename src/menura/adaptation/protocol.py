"""What every method can do: make a model ready, say what training minimises, and learn a persona."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from menura.adaptation.inner_loop import Watch
from menura.adaptation.weights import PersonaWeights
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.models.dialogue_model import DialogueModel, Loss


@runtime_checkable
class Adaptation(Protocol):
    """A method of the field, as a value: a frozen dataclass of its settings; ``name`` is the method's.

    A method with ``has_inner_loop`` keeps the settings of its inner loop as ``inner``; one without adapts nothing.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: ClassVar[str]
    has_inner_loop: ClassVar[bool]

    @property
    def second_order(self) -> bool:
        """Tell whether the objective may differentiate twice, which not every attention kernel can."""

    def attach(self, model: DialogueModel[Any]) -> None:
        """Give the model, once before training, what the method trains beside it; ConfigError if it does not fit."""

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return what outer training minimises on one episode; its gradient is the (meta-)gradient.

        ``progress`` is the share (0..1) of training done, for methods that change on the way.
        """

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], watch: Watch | None = None
    ) -> PersonaWeights:
        """Return what one persona differs in, learnt from its support set; the model comes back as it was given."""


@runtime_checkable
class AdaptsPart(Protocol):
    """A method of which a persona, learnt on a model, is smaller than what training moves."""

    def for_persona(self, model: DialogueModel[Any]) -> Self:
        """Return the method as a single persona is learnt by it where nothing else is set."""
