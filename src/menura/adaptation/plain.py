"""Training without meta-learning: all dialogues pooled, then nothing (pretrain-only) or fine-tuning per persona."""

import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch

from menura.adaptation.descent import Descent, Watch, descend
from menura.adaptation.weights import PersonaWeights, adapting
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.models.dialogue_model import DialogueModel, DropsOut, Loss


def pooled(model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
    """Return the loss over support and query together, no persona told from another."""
    exchanges = tuple(chain.from_iterable(episode.support + episode.query))
    # Drawn from what is read, so that the same training goes the same way, however often it was stopped.
    seed = zlib.crc32(repr([exchange.ids for exchange in exchanges]).encode())
    with model.dropping(seed, progress) if isinstance(model, DropsOut) else nullcontext():
        loss: Loss = model(model.batch(exchanges))
    return loss


def fitted(
    model: DialogueModel[Any],
    support: Sequence[EncodedDialogue],
    inner: Descent,
    watch: Watch | None,
    adapts: str = "",
) -> PersonaWeights:
    """Run the inner loop from the model's own weights; one copy of what adapts is made, and written over."""
    start = adapting(model, adapts)
    with torch.enable_grad():
        weights = descend(model, start, support, inner, watch=watch)
    # After no step at all these are still the model's own tensors, which the next persona would write over.
    return {name: value.detach().clone() if value is start[name] else value for name, value in weights.items()}


@dataclass(frozen=True)
class PretrainOnly:
    """Pooled training, no adaptation: the un-adapted row of every table."""

    second_order = False

    def attach(self, model: DialogueModel[Any]) -> None:
        """Need nothing beside the model."""

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the pooled loss."""
        return pooled(model, episode, progress)

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], watch: Watch | None = None
    ) -> PersonaWeights:
        """Return nothing: every persona is the base."""
        del model, support, watch
        return {}


@dataclass(frozen=True)
class Finetune:
    """Pooled training, then ``inner`` on the persona's support set.

    ``adapts`` are parts of names, comma-separated: a persona differs only in what has one in its name ("" = all).
    """

    inner: Descent = field(default_factory=Descent)
    adapts: str = ""

    second_order = False

    def attach(self, model: DialogueModel[Any]) -> None:
        """Need nothing beside the model; ConfigError if nothing is there to adapt."""
        adapting(model, self.adapts)

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the pooled loss."""
        return pooled(model, episode, progress)

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], watch: Watch | None = None
    ) -> PersonaWeights:
        """Return the weights after the inner loop."""
        return fitted(model, support, self.inner, watch, self.adapts)
