"""Candidate replies are ranked by how much likelier the persona makes them than the un-adapted model does."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from menura.adaptation.weights import PersonaWeights, swapped_weights
from menura.batches.batch import Batch
from menura.batches.encode import EncodedExchange
from menura.models.dialogue_model import DialogueModel, caching, nll_of


def weights_now(model: DialogueModel[Any], weights: PersonaWeights) -> PersonaWeights:
    """Return copies of the model's own values of the weights that a persona replaces."""
    parameters = dict(model.named_parameters())
    return {name: parameters[name].detach().clone() for name in weights}


def likelihood_ratio(
    model: DialogueModel[Any], unadapted: PersonaWeights, plain: EncodedExchange
) -> Callable[[Batch], Tensor]:
    """Return what scores (B,) replies to one context: (log p(r | persona) − log p(r | un-adapted)) per token, nats.

    It is called while the persona's weights and cache are in use. ``unadapted`` are the model's own values of the same
    weights; ``plain`` is the context as the un-adapted model reads it, without anything that is remembered. A reply
    that anybody would give has a ratio near 0, however likely it is (maximum mutual information, Li et al., 2016, with
    the persona in the place of the message).
    """

    @torch.no_grad()
    def score(replies: Batch) -> Tensor:
        own = nll_of(model, replies)
        bare = model.batch([replace(plain, reply=exchange.reply) for exchange in replies.exchanges])
        with swapped_weights(model, unadapted), caching(model, None):
            anybodys = nll_of(model, bare)
        return (anybodys - own) / replies.reply_lengths

    return score
