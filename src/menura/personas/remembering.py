"""A persona that remembers: its own exchanges, by words or states, and a cache of its words in what it learnt from."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy
import torch
from numpy.typing import NDArray

from menura.adaptation.own_words import cache_and_places
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.artefacts.persona_memory import RememberedExchanges
from menura.batches.encode import EncodedDialogue, Encoder
from menura.errors import ConfigError
from menura.memory.recall import LineStates
from menura.memory.settings import RecallBy
from menura.models.dialogue_model import DialogueModel, HasLineStates, HasNeuralCache
from menura.tasks.task import Exchange


def remembering(
    loaded: LoadedModel,
    artefact: PersonaArtefact,
    exchanges: Iterable[Exchange],
    support: Sequence[EncodedDialogue],
    earlier: RememberedExchanges | None = None,
) -> PersonaArtefact:
    """Return a persona that remembers ``exchanges``, and those of ``support``, from which its weights were learnt.

    The words of ``support`` make the cache, where the model takes one. What an ``earlier`` version of the persona
    remembers comes first, and its cache stays: its states are of the earlier weights, because the dialogues that they
    were read in are not kept.
    """
    learnt_from = [exchange.source.as_remembered() for dialogue in support for exchange in dialogue if exchange.source]
    before = earlier or RememberedExchanges(())
    remembered = tuple(dict.fromkeys([*before.exchanges, *(one.as_remembered() for one in exchanges), *learnt_from]))
    if not (isinstance(loaded.model, HasNeuralCache) and learnt_from):
        return replace(artefact, memory=RememberedExchanges.of(remembered, before.cache, before.cached))
    cache, places = cache_and_places(loaded.model, artefact.weights, support)
    cached = tuple(learnt_from[place] for place in places)
    if before.cache is not None:
        keys, tokens = before.cache.keys.to(cache.keys), before.cache.tokens.to(cache.tokens)
        cache = replace(cache, keys=torch.cat([keys, cache.keys]), tokens=torch.cat([tokens, cache.tokens]))
        cached = (*before.cached, *cached)
    return replace(artefact, memory=RememberedExchanges.of(remembered, cache, cached))


def states_for(by: RecallBy, model: DialogueModel[Any], encoder: Encoder) -> LineStates | None:
    """Return the states that a memory is to recall by, None by words; ConfigError for a model that has none."""
    if by == "bm25":
        return None
    if not isinstance(model, HasLineStates):
        raise ConfigError(f"{type(model).__name__} has no states to recall by", hint="--memory-by bm25")

    def states_of(lines: Sequence[str]) -> NDArray[numpy.float32]:
        states = model.line_states([encoder.tokenizer.encode(line) for line in lines])
        return states.cpu().numpy().astype(numpy.float32)

    return states_of
