"""The exchanges of a person that fit the line being answered, by BM25, within a budget of tokens.

An exchange is the turn before and the person's reply. Those that are recalled stand before the context as short
dialogues, the best one last, next to it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy

from menura.batches.encode import EncodedDialogue, EncodedExchange, Encoder
from menura.corpus.dialogue import Turn
from menura.tasks.task import Exchange

if TYPE_CHECKING:
    import bm25s

K1, B = 1.2, 0.75  # of BM25 (Robertson and Zaragoza, 2009)
MEMORY_TOKENS = 256  # of recalled exchanges before a context, unless asked otherwise
QUERY_TURNS = 2  # the last turns of a context ask
WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True)
class ExchangeMemory:
    """The exchanges that a person's replies may be helped by, in the order in which they were said."""

    exchanges: tuple[Exchange, ...]

    def recalled(self, context: Sequence[Turn], encoder: Encoder, budget: int) -> tuple[EncodedDialogue, ...]:
        """Return the exchanges that fit the last turns of a context, the best one last, in at most ``budget`` tokens.

        An exchange without a word of those turns is not recalled. One that is too long for what is left of the budget
        is passed over.
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
        """Return the places of the exchanges that share a word with the last turns of a context, the best first."""
        asked = [word for turn in context[-QUERY_TURNS:] for word in words(turn.text)]
        if not asked or self._index is None:
            return []
        scores = self._index.get_scores(asked)
        order = numpy.argsort(-scores, kind="stable")
        return [int(place) for place in order if scores[place] > 0]

    @cached_property
    def _index(self) -> "bm25s.BM25 | None":
        # It loads numba where that is there: a second for whoever recalls nothing, and more than vLLM's workers bear.
        import bm25s  # noqa: PLC0415  # as said above

        texts = [[*words(e.context[-1].text if e.context else ""), *words(e.reply.text)] for e in self.exchanges]
        if not any(texts):
            return None
        index = bm25s.BM25(k1=K1, b=B)
        index.index(texts, show_progress=False)
        return index


def memory_of(dialogues: Sequence[EncodedDialogue]) -> ExchangeMemory:
    """Return the memory of encoded dialogues: each reply with the turn before it, where its text is known."""
    sources = [exchange.source for dialogue in dialogues for exchange in dialogue if exchange.source is not None]
    return ExchangeMemory(tuple(replace(source, context=source.context[-1:]) for source in sources))


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return WORD.findall(text.lower())
