"""Training without meta-learning: all dialogues pooled, then no adaptation or fine-tuning per persona."""

import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar, Protocol

import torch

from menura.adaptation.inner_loop import InnerLoop, StepCallback, run_inner_loop
from menura.adaptation.weights import (
    PersonaWeights,
    filter_by_name,
    loss_with,
    selected_parameters,
    trainable_parameters,
)
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.models.dialogue_model import DialogueModel, HasDropout, Loss


def support_and_query_loss(
    model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0, trainable: str = ""
) -> Loss:
    """Return the loss over support and query together, personas not distinguished.

    ``progress`` is the share of training done, 0 to 1. Only parameters whose name contains a part of ``trainable`` get
    a gradient; the others do not decay either.
    """
    exchanges = tuple(chain.from_iterable(episode.support + episode.query))
    # Seeded by data and progress, so that resumed training continues identically, and a dialogue gets another dropout
    # mask when it comes again.
    seed = zlib.crc32(repr((progress, [exchange.ids for exchange in exchanges])).encode())
    with model.dropout(seed, progress) if isinstance(model, HasDropout) else nullcontext():
        batch = model.batch(exchanges)
        loss: Loss = loss_with(model, _still(model, trainable), batch) if trainable else model(batch)
    return loss


def _still(model: DialogueModel[Any], trainable: str) -> PersonaWeights:
    """Return the parameters that are not trained, detached."""
    moves = filter_by_name(trainable_parameters(model), trainable)
    return {name: value.detach() for name, value in trainable_parameters(model).items() if name not in moves}


def finetuned_weights(
    model: DialogueModel[Any],
    support: Sequence[EncodedDialogue],
    inner: InnerLoop,
    on_step: StepCallback | None,
    trainable: str = "",
    start: PersonaWeights | None = None,
) -> PersonaWeights:
    """Return the weights after the inner loop from the model's own, or from ``start``.

    One copy of what adapts is made and reused. Soft targets of self-distillation are the model's own in any case.
    """
    selected = selected_parameters(model, trainable)
    start = selected if start is None else {name: start[name].to(value) for name, value in selected.items()}
    with torch.enable_grad():
        weights = run_inner_loop(model, start, support, inner, on_step=on_step)
    # Without any step these are still the model's own tensors, which the next persona would overwrite.
    return {name: value.detach().clone() if value is start[name] else value for name, value in weights.items()}


class HasInnerLoop(Protocol):
    """A method with an inner loop over the parameters that ``trainable`` selects."""

    @property
    def inner(self) -> InnerLoop:
        """The inner loop."""

    @property
    def trainable(self) -> str:
        """Parts of parameter names, comma-separated; empty for all."""


class AdaptsByInnerLoop:
    """How a method adapts whose persona is what the inner loop gives on the person's real replies."""

    def adapt(
        self: HasInnerLoop,
        model: DialogueModel[Any],
        support: Sequence[EncodedDialogue],
        on_step: StepCallback | None = None,
    ) -> PersonaWeights:
        """Return the weights after the inner loop."""
        return finetuned_weights(model, support, self.inner, on_step, self.trainable)

    def adapt_further(
        self: HasInnerLoop,
        model: DialogueModel[Any],
        weights: PersonaWeights,
        support: Sequence[EncodedDialogue],
        on_step: StepCallback | None = None,
    ) -> PersonaWeights:
        """Return a persona's weights after the inner loop from them."""
        return finetuned_weights(model, support, self.inner, on_step, self.trainable, weights)


@dataclass(frozen=True)
class PretrainOnly:
    """Pooled training without adaptation: the baseline of every table.

    ``trainable``: parts of parameter names, comma-separated; only parameters whose name contains one train ("" = all).
    """

    name: ClassVar[str] = "pretrain-only"
    has_inner_loop: ClassVar[bool] = False

    trainable: str = ""

    second_order = False

    def attach(self, model: DialogueModel[Any]) -> None:
        """Add nothing, check only: ConfigError if ``trainable`` matches no parameter."""
        selected_parameters(model, self.trainable, "method.trainable")

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the pooled loss; ``progress`` (share of training done, 0 to 1) seeds dropout."""
        return support_and_query_loss(model, episode, progress, self.trainable)

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], on_step: StepCallback | None = None
    ) -> PersonaWeights:
        """Return no weights: every persona is the base model."""
        del model, support, on_step
        return {}


@dataclass(frozen=True)
class Finetune(AdaptsByInnerLoop):
    """Pooled training, then the inner loop on the persona's support set.

    ``trainable``: parts of parameter names, comma-separated; only parameters whose name contains one adapt ("" = all).
    """

    name: ClassVar[str] = "finetune"
    has_inner_loop: ClassVar[bool] = True

    inner: InnerLoop = field(default_factory=InnerLoop)
    trainable: str = ""

    second_order = False

    def attach(self, model: DialogueModel[Any]) -> None:
        """Add nothing, check only: ConfigError if ``trainable`` matches no parameter."""
        selected_parameters(model, self.trainable)

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the pooled loss; ``progress`` (share of training done, 0 to 1) seeds dropout."""
        return support_and_query_loss(model, episode, progress)
