"""Replies that are wrong under a context, for response selection to tell from the right one (PLATO, A9)."""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from menura.batches.encode import EncodedExchange

REMEMBERED = 1024


@dataclass
class Negatives:
    """Wrong replies from the same batch, or from a memory of recent ones where the batch has none that will do.

    One that says the same, or belongs to the same dialogue, is never wrong enough. (The public program rolls the batch
    by one: a batch of one then has its own reply for a wrong one.)
    """

    size: int = REMEMBERED
    recent: deque[EncodedExchange] = field(default_factory=deque)

    def drawn(self, exchanges: Sequence[EncodedExchange], rng: random.Random) -> list[EncodedExchange | None]:
        """Return for each exchange one whose reply is wrong, None where there is none; remember the exchanges."""
        found = [self._wrong(exchange, exchanges, rng) for exchange in exchanges]
        self.recent.extend(exchanges)
        while len(self.recent) > self.size:
            self.recent.popleft()
        return found

    def _wrong(
        self, exchange: EncodedExchange, mates: Sequence[EncodedExchange], rng: random.Random
    ) -> EncodedExchange | None:
        for pool in (mates, self.recent):
            able = [other for other in pool if differs(exchange, other)]
            if able:
                return rng.choice(able)
        return None


def differs(exchange: EncodedExchange, other: EncodedExchange) -> bool:
    """Tell whether another's reply is wrong here: of another dialogue, and other words."""
    return other.dialogue_id != exchange.dialogue_id and other.reply != exchange.reply
