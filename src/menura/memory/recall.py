"""The exchanges of a person that fit the line being answered, by words or by states, within a budget of tokens.

An exchange is the turn before and the person's reply. Those that are recalled stand before the context as short
dialogues, the best one last, next to it. By words the score is BM25, by states the cosine of hidden states of the
un-adapted base.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy
from numpy.typing import NDArray

from menura.batches.encode import EncodedDialogue, EncodedExchange, Encoder
from menura.corpus.dialogue import Turn
from menura.tasks.task import Exchange

if TYPE_CHECKING:
    import bm25s

LineStates = Callable[[Sequence[str]], NDArray[numpy.float32]]  # texts -> (N, D), one mean hidden state each
K1, B = 1.2, 0.75  # of BM25 (Robertson and Zaragoza, 2009)
QUERY_TURNS = 2  # the last turns of a context ask
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True)
class ExchangeMemory:
    """The exchanges that a person's replies may be helped by, in the order in which they were said.

    With ``states_of`` they are recalled by states, otherwise by words.
    """

    exchanges: tuple[Exchange, ...]
    states_of: LineStates | None = field(default=None, repr=False, compare=False)

    def recalled(self, context: Sequence[Turn], encoder: Encoder, budget: int) -> tuple[EncodedDialogue, ...]:
        """Return the exchanges that fit the last turns of a context, the best one last, in at most ``budget`` tokens.

        By words, an exchange without a word of those turns is not recalled. One that is too long for what is left of
        the budget is passed over.
        """
        chosen: list[EncodedDialogue] = []
        for place in self.ranked(context):
            dialogue = (encoder.exchange(replace(self.exchanges[place], facts=()), ""),)
            length = encoder.length_before(dialogue)
            if length <= budget:
                budget -= length
                chosen.append(dialogue)
        return tuple(reversed(chosen))

    def recalled_for(self, exchange: EncodedExchange, encoder: Encoder, budget: int) -> tuple[EncodedDialogue, ...]:
        """Return what is recalled for the context of an encoded exchange; nothing where its text is not known."""
        return self.recalled(exchange.source.context, encoder, budget) if exchange.source else ()

    def ranked(self, context: Sequence[Turn]) -> list[int]:
        """Return the places of the exchanges by how well they fit the last turns of a context, the best first.

        By words, those alone that share a word with these turns.
        """
        if self.states_of is not None:
            return self._ranked_by_states(self.states_of, context)
        asked = [word for turn in context[-QUERY_TURNS:] for word in words(turn.text)]
        if not asked or self._index is None:
            return []
        scores = self._index.get_scores(asked)
        order = numpy.argsort(-scores, kind="stable")
        return [int(place) for place in order if scores[place] > 0]

    def _ranked_by_states(self, states_of: LineStates, context: Sequence[Turn]) -> list[int]:
        asked = "\n".join(turn.text for turn in context[-QUERY_TURNS:])
        if not asked or not self.exchanges:
            return []
        mean, keys = self._keys
        scores = keys @ _unit(states_of([asked])[0] - mean)
        return [int(place) for place in numpy.argsort(-scores, kind="stable")]

    @cached_property
    def _keys(self) -> tuple[NDArray[numpy.float32], NDArray[numpy.float32]]:
        """The mean state (D,) of the exchanges, and each one's distance from it, of length 1, (N, D).

        Hidden states of one network point all in nearly one direction; what is left without it tells lines apart.
        """
        assert self.states_of is not None, "asked for by states alone"
        states = self.states_of([_text(exchange) for exchange in self.exchanges])
        mean = states.mean(0)
        return mean, _unit(states - mean)

    @cached_property
    def _index(self) -> "bm25s.BM25 | None":
        # It loads numba where that is there: a second for whoever recalls nothing, and more than vLLM's workers bear.
        import bm25s  # noqa: PLC0415  # as said above

        texts = [words(_text(exchange)) for exchange in self.exchanges]
        if not any(texts):
            return None
        index = bm25s.BM25(k1=K1, b=B)
        index.index(texts, show_progress=False)
        return index


def memory_of(dialogues: Sequence[EncodedDialogue], states_of: LineStates | None = None) -> ExchangeMemory:
    """Return the memory of encoded dialogues: each reply with the turn before it, where its text is known."""
    sources = [exchange.source for dialogue in dialogues for exchange in dialogue if exchange.source is not None]
    return ExchangeMemory(tuple(replace(source, context=source.context[-1:]) for source in sources), states_of)


def _text(exchange: Exchange) -> str:
    """Return the turn before a reply, and the reply."""
    return "\n".join(turn.text for turn in (*exchange.context[-1:], exchange.reply))


def _unit(vectors: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
    """Return vectors (…, D) of length 1; one of no length stays 0."""
    lengths = numpy.linalg.norm(vectors, axis=-1, keepdims=True).astype(numpy.float32)
    unit: NDArray[numpy.float32] = vectors / numpy.maximum(lengths, numpy.finfo(numpy.float32).tiny)
    return unit


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return WORD.findall(text.lower())
