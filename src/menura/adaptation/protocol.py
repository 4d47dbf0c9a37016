"""What every method does: prepare a model, define the training objective, and adapt to a persona."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

from menura.adaptation.inner_loop import StepCallback
from menura.adaptation.weights import PersonaWeights
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.models.dialogue_model import DialogueModel, Loss


@runtime_checkable
class Adaptation(Protocol):
    """A training and adaptation method: a frozen dataclass of its settings; ``name`` is the method's.

    ``has_inner_loop``: whether adapt() runs the inner loop. A method with it has the settings of its inner loop as
    ``inner``; one without does not adapt. ``progress`` is always the share of training done, 0 to 1.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    name: ClassVar[str]
    has_inner_loop: ClassVar[bool]

    @property
    def second_order(self) -> bool:
        """Tell whether the objective may need second derivatives, which not every attention kernel has."""

    def attach(self, model: DialogueModel[Any]) -> None:
        """Prepare the model, once before training: add the parameters that the method trains beside it, if any.

        All methods check here that they fit the model; ConfigError if they do not. Most add nothing.
        """

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the objective of the outer loop on one episode; its gradient is the (meta-)gradient.

        ``progress`` is the share of training done, 0 to 1, for methods with a schedule.
        """

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], on_step: StepCallback | None = None
    ) -> PersonaWeights:
        """Return the persona's weights, learnt from its support set; the model itself is not changed.

        ``on_step`` is called after each step of the inner loop.
        """


@runtime_checkable
class AdaptsPart(Protocol):
    """A method with which a persona by default adapts fewer weights than training moves."""

    def for_persona(self, model: DialogueModel[Any]) -> Self:
        """Return the method as it adapts a single persona: with its default ``trainable`` where none is set."""


@runtime_checkable
class GoesOn(Protocol):
    """A method that can go on from a persona's weights with further dialogues."""

    def adapt_further(
        self,
        model: DialogueModel[Any],
        weights: PersonaWeights,
        support: Sequence[EncodedDialogue],
        on_step: StepCallback | None = None,
    ) -> PersonaWeights:
        """Return the weights learnt from the support set, beginning at a persona's; neither of the two is changed.

        The model itself is the un-adapted one: what self-distillation holds a persona to.
        """
