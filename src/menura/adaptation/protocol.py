"""What every method can do: make a model ready, say what training lowers, and learn a persona."""

from collections.abc import Sequence
from typing import Any, Protocol

from menura.adaptation.inner_loop import Watch
from menura.adaptation.weights import PersonaWeights
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.models.dialogue_model import DialogueModel, Loss


class Adaptation(Protocol):
    """A method of the field, as a value."""

    @property
    def second_order(self) -> bool:
        """Tell whether the objective may differentiate twice, which not every attention kernel can."""

    def attach(self, model: DialogueModel[Any]) -> None:
        """Give the model, once before training, what the method trains beside it; ConfigError if it does not fit."""

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return what outer training lowers on one episode; its gradient is the (meta-)gradient.

        ``progress`` is the share (0..1) of training done, for methods that change on the way.
        """

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], watch: Watch | None = None
    ) -> PersonaWeights:
        """Return what one persona differs in, learnt from its support set; the model comes back as it was given."""
