"""The two verbs of every method: what training lowers, and how a persona is learnt."""

from collections.abc import Sequence
from typing import Any, Protocol

from menura.adaptation.descent import Watch
from menura.adaptation.weights import PersonaWeights
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.models.dialogue_model import DialogueModel, Loss


class Adaptation(Protocol):
    """A method of the field, as a value."""

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode) -> Loss:
        """Return what outer training lowers on one episode; its gradient is the (meta-)gradient."""

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], watch: Watch | None = None
    ) -> PersonaWeights:
        """Return what one persona differs in, learnt from its support set; the model comes back as it was given."""
