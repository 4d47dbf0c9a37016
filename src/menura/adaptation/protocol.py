"""What every method does: prepare a model, define the training objective, and adapt to a persona."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from menura.adaptation.inner_loop import Watch
from menura.adaptation.weights import PersonaWeights
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.models.dialogue_model import DialogueModel, Loss


@runtime_checkable
class Adaptation(Protocol):
    """A training and adaptation method: a frozen dataclass of its settings; ``name`` is the method's.

    A method with ``has_inner_loop`` has the settings of its inner loop as ``inner``; one without does not adapt.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: ClassVar[str]
    has_inner_loop: ClassVar[bool]

    @property
    def second_order(self) -> bool:
        """Tell whether the objective may need second derivatives, which not every attention kernel has."""

    def attach(self, model: DialogueModel[Any]) -> None:
        """Add to the model, once before training, what the method trains beside it; ConfigError if it does not fit."""

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the objective of the outer loop on one episode; its gradient is the (meta-)gradient.

        ``progress`` is the share (0..1) of training done, for methods with a schedule.
        """

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], watch: Watch | None = None
    ) -> PersonaWeights:
        """Return the persona's weights, learnt from its support set; the model itself is not changed."""


@runtime_checkable
class AdaptsPart(Protocol):
    """A method with which a persona by default adapts fewer weights than training moves."""

    def for_persona(self, model: DialogueModel[Any]) -> Self:
        """Return the method with its default ``trainable`` for adapting a single persona."""
