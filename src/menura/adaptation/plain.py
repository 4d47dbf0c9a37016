"""Training without meta-learning: all dialogues pooled, then nothing (pretrain-only) or fine-tuning per persona."""

import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar

import torch

from menura.adaptation.inner_loop import InnerLoop, Watch, run_inner_loop
from menura.adaptation.weights import PersonaWeights, adapting, loss_with, trained, with_part
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.models.dialogue_model import DialogueModel, HasDropout, Loss


def pooled(model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0, learns: str = "") -> Loss:
    """Return the loss over support and query together, no persona told from another.

    Its gradient is that of the weights ``with_part`` ``learns``; the others get none, and so do not decay either.
    """
    exchanges = tuple(chain.from_iterable(episode.support + episode.query))
    # Drawn from what is read and when, so that the same training goes the same way, however often it was stopped, and
    # a dialogue that is read again loses other units.
    seed = zlib.crc32(repr((progress, [exchange.ids for exchange in exchanges])).encode())
    with model.dropout(seed, progress) if isinstance(model, HasDropout) else nullcontext():
        batch = model.batch(exchanges)
        loss: Loss = loss_with(model, _still(model, learns), batch) if learns else model(batch)
    return loss


def _still(model: DialogueModel[Any], learns: str) -> PersonaWeights:
    """Return what does not learn, cut off from its gradient."""
    moves = with_part(trained(model), learns)
    return {name: value.detach() for name, value in trained(model).items() if name not in moves}


def fitted(
    model: DialogueModel[Any],
    support: Sequence[EncodedDialogue],
    inner: InnerLoop,
    watch: Watch | None,
    adapts: str = "",
) -> PersonaWeights:
    """Run the inner loop from the model's own weights; one copy of what adapts is made, and written over."""
    start = adapting(model, adapts)
    with torch.enable_grad():
        weights = run_inner_loop(model, start, support, inner, watch=watch)
    # After no step at all these are still the model's own tensors, which the next persona would write over.
    return {name: value.detach().clone() if value is start[name] else value for name, value in weights.items()}


@dataclass(frozen=True)
class PretrainOnly:
    """Pooled training, no adaptation: the un-adapted row of every table.

    ``learns`` are parts of names, comma-separated: only what has one in its name trains ("" = all).
    """

    name: ClassVar[str] = "pretrain-only"
    has_inner_loop: ClassVar[bool] = False

    trainable: str = ""

    second_order = False

    def attach(self, model: DialogueModel[Any]) -> None:
        """Need nothing beside the model; ConfigError if nothing is there to learn."""
        adapting(model, self.trainable, "method.trainable")

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the pooled loss."""
        return pooled(model, episode, progress, self.trainable)

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

    name: ClassVar[str] = "finetune"
    has_inner_loop: ClassVar[bool] = True

    inner: InnerLoop = field(default_factory=InnerLoop)
    trainable: str = ""

    second_order = False

    def attach(self, model: DialogueModel[Any]) -> None:
        """Need nothing beside the model; ConfigError if nothing is there to adapt."""
        adapting(model, self.trainable)

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the pooled loss."""
        return pooled(model, episode, progress)

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], watch: Watch | None = None
    ) -> PersonaWeights:
        """Return the weights after the inner loop."""
        return fitted(model, support, self.inner, watch, self.trainable)
