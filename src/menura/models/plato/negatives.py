"""Negatives for response selection: replies of other exchanges (PLATO, A9)."""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from menura.batches.encode import EncodedExchange

REMEMBERED = 1024


@dataclass
class Negatives:
    """Negatives from the same batch, or from a memory of recent exchanges if the batch has none that fits.

    A reply with the same text, or of the same dialogue, is no negative. (The public program rolls the batch by one: in
    a batch of one the negative is then the reply itself.)
    """

    size: int = REMEMBERED
    recent: deque[EncodedExchange] = field(default_factory=deque)

    def drawn(self, exchanges: Sequence[EncodedExchange], rng: random.Random) -> list[EncodedExchange | None]:
        """Return a negative for each exchange, None where there is none; remember the exchanges."""
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
    """Tell whether another exchange's reply is a negative here: of another dialogue, with another text."""
    return other.dialogue_id != exchange.dialogue_id and other.reply != exchange.reply
