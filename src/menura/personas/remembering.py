"""A persona that remembers: its own exchanges, by words or states, and a cache of its words in what it learnt from."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy
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
) -> PersonaArtefact:
    """Return a persona that remembers ``exchanges``, and those of ``support``, from which its weights were learnt.

    The words of ``support`` make the cache, where the model takes one.
    """
    learnt_from = [exchange.source.as_remembered() for dialogue in support for exchange in dialogue if exchange.source]
    remembered = tuple(dict.fromkeys([*(one.as_remembered() for one in exchanges), *learnt_from]))
    if not (isinstance(loaded.model, HasNeuralCache) and learnt_from):
        return replace(artefact, memory=RememberedExchanges.of(remembered))
    cache, places = cache_and_places(loaded.model, artefact.weights, support)
    cached = tuple(learnt_from[place] for place in places)
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
