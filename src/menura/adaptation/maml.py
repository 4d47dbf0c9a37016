"""Model-agnostic meta-learning (Finn et al., 2017) and Reptile (Nichol et al., 2018)."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch

from menura.adaptation.descent import Descent, Order, Watch, descend, twice_differentiable
from menura.adaptation.plain import fitted
from menura.adaptation.weights import PersonaWeights, adaptable, loss_with
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, Loss


@dataclass(frozen=True)
class Maml:
    """Lower the query loss after the inner loop on the support set.

    ``order`` exact differentiates through the inner loop, first takes its steps as constants. ``hold`` (0..1) is the
    share of the un-adapted query loss in what is lowered: without it a start can come to serve its adapted selves only.
    """

    inner: Descent = field(default_factory=Descent)
    order: Order = "first"
    hold: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        if not 0 <= self.hold <= 1:
            raise ConfigError(f"method.hold: {self.hold}, must lie between 0 and 1")

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode) -> Loss:
        """Return the query loss at the adapted weights, as a function of the model's own."""
        start = adaptable(model)
        query = model.batch(tuple(chain.from_iterable(episode.query)))
        adapted = descend(model, start, episode.support, self.inner, order=self.order)
        with twice_differentiable() if self.order == "exact" else nullcontext():
            loss = loss_with(model, adapted, query)
            if not self.hold:
                return loss
            before = model.loss(query)
        total = (1 - self.hold) * loss.total + self.hold * before.total
        return Loss(total, loss.nats, loss.tokens, {"un-adapted": before.total.detach()})

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], watch: Watch | None = None
    ) -> PersonaWeights:
        """Return the weights after the inner loop."""
        with torch.enable_grad():
            return fitted(model, support, self.inner, watch)


@dataclass(frozen=True)
class Reptile:
    """Move towards where the inner loop on all of a persona's dialogues ends."""

    inner: Descent = field(default_factory=Descent)

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode) -> Loss:
        """Return ½‖θ − θ_k‖², whose gradient is Reptile's direction θ − θ_k; ``nats`` are the un-adapted query's."""
        start = adaptable(model)
        with torch.no_grad():
            query = model.loss(model.batch(tuple(chain.from_iterable(episode.query))))
        end = fitted(model, episode.support + episode.query, self.inner, None)
        distance = torch.stack([((start[name] - end[name]) ** 2).sum() for name in start]).sum() / 2
        return Loss(distance, query.nats, query.tokens)

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], watch: Watch | None = None
    ) -> PersonaWeights:
        """Return the weights after the inner loop."""
        with torch.enable_grad():
            return fitted(model, support, self.inner, watch)
