"""A person's replies become a cache of what followed in which state, beside the persona's weights."""

from collections.abc import Sequence
from typing import Any

from menura.adaptation.weights import PersonaWeights, swapped_weights
from menura.batches.encode import EncodedDialogue
from menura.errors import EpisodeError
from menura.models.dialogue_model import DialogueModel, HasNeuralCache, check_caches
from menura.models.layers.neural_cache import NeuralCache


def cache_of(model: DialogueModel[Any], weights: PersonaWeights, support: Sequence[EncodedDialogue]) -> NeuralCache:
    """Return the cache of a person's replies, read under the persona's weights; raises as ``cache_and_places``."""
    return cache_and_places(model, weights, support)[0]


def cache_and_places(
    model: DialogueModel[Any], weights: PersonaWeights, support: Sequence[EncodedDialogue]
) -> tuple[NeuralCache, list[int]]:
    """Return the cache of a person's replies, and the place among all exchanges of each token in it.

    Raises ConfigError for a model that takes none, EpisodeError where the person replies in none of the dialogues.
    """
    check_caches(model)
    assert isinstance(model, HasNeuralCache)
    exchanges = [exchange for dialogue in support for exchange in dialogue]
    if not exchanges:
        raise EpisodeError("a cache takes at least one reply of the person")
    with swapped_weights(model, weights):
        states, tokens, places = model.reply_states(model.batch(exchanges))
    return NeuralCache.of(states, tokens), places.tolist()
