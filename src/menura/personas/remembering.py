"""A persona that remembers: its own exchanges, and a cache of its words in those that it learnt from."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from menura.adaptation.own_words import cache_and_places
from menura.artefacts.loading import LoadedModel
from menura.artefacts.persona_artefact import PersonaArtefact
from menura.artefacts.persona_memory import RememberedExchanges
from menura.batches.encode import EncodedDialogue
from menura.models.dialogue_model import HasNeuralCache
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
