"""Contexts are read once: generation and recognition continue from the same cache (``recognition`` after_context).

Shape letters: B exchanges, P pairs of context and reply, D width, R rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from menura.batches.collate import Ids
from menura.batches.encode import EncodedExchange
from menura.batches.plato_inputs import PlatoInputs
from menura.models.layers.length_bucketing import TOKENS_AT_ONCE, buckets
from menura.models.plato.network import Contexts, PlatoNetwork
from menura.models.plato.shared_context import KeyValues, Owners


@dataclass(frozen=True)
class ReadContexts:
    """Contexts of similar length that were read together, and the indices of their exchanges."""

    places: Sequence[int]
    contexts: Contexts


class ReadsContextsOnce(PlatoNetwork):
    """Recognition from contexts that were read without the reply: [M] and the reply see them, and one another."""

    @property
    def reads_once(self) -> bool:
        """Whether recognition continues from the contexts that generation reads."""
        return bool(self.config.recognition == "after_context" and self.latents)

    def recognised(self, pairs: Sequence[tuple[EncodedExchange, Ids]]) -> Tensor:
        """Return h_[M] (P, D) of contexts with replies; a missing end token is added."""
        return self.features(pairs)[:, : self.mask_slot.shape[-1]]

    def features(self, pairs: Sequence[tuple[EncodedExchange, Ids]]) -> Tensor:
        """Return what the heads read (P, D or 2D): h_[M], and with ``selection`` match after it how the two match."""
        if not self.reads_once:
            return super().recognised(pairs)
        exchanges = [exchange for exchange, _ in pairs]
        return self._recognised_after(self._read_once(exchanges), exchanges, [(i, r) for i, (_, r) in enumerate(pairs)])

    def _read_once(self, exchanges: Sequence[EncodedExchange]) -> list[ReadContexts]:
        """Read contexts, in batches of similar length."""
        sizes = [len(exchange.prefix) for exchange in exchanges]
        return [
            ReadContexts(places, self._contexts([exchanges[place] for place in places], None))
            for places in buckets(sizes, TOKENS_AT_ONCE)
        ]

    def _recognised_after(
        self, read: Sequence[ReadContexts], exchanges: Sequence[EncodedExchange], pairs: Sequence[tuple[int, Ids]]
    ) -> Tensor:
        """Return features, as ``features`` does, of pairs of an exchange's index and a reply."""
        states_by_pair: dict[int, Tensor] = {}
        for part in read:
            row_of = {place: row for row, place in enumerate(part.places)}
            mine = [number for number, (place, _) in enumerate(pairs) if place in row_of]
            for chosen in buckets([len(pairs[number][1]) + 2 for number in mine], TOKENS_AT_ONCE):
                numbers = [mine[each] for each in chosen]
                owners = torch.tensor([row_of[pairs[number][0]] for number in numbers], device=self.device)
                replies = [(exchanges[pairs[number][0]].prefix[-1], *pairs[number][1]) for number in numbers]
                states = self._with_mask_slot(part.contexts, owners, replies)
                states_by_pair.update(zip(numbers, states, strict=True))
        return torch.stack([states_by_pair[number] for number in range(len(pairs))])

    def _with_mask_slot(self, contexts: Contexts, owners: Tensor, replies: Sequence[Ids]) -> Tensor:
        """Return features of replies (R, D or 2D), each after the context at the index that ``owners`` (R,) names."""
        tokens = PlatoInputs.of([self.layout.reply(reply) for reply in replies], self.device)
        slot = self.embeddings.slot(self.mask_slot).expand(len(replies), 1, -1)
        empty = tuple((k[:1, :, :0].expand(len(replies), -1, -1, -1),) * 2 for k, _ in contexts.reading.shared)
        reading = replace(contexts.reading, owners=Owners(owners, len(contexts.mask)), own=empty)
        real = torch.cat([tokens.mask.new_ones((len(replies), 1)), tokens.mask], 1)
        grown: list[KeyValues] = []
        attends = reading.attends(grown, both_ways=True, dropout=self._dropped, real=real)
        states: Tensor = self.body(torch.cat([slot, self.embeddings(tokens)], 1), attends)
        if self.config.selection == "mask":
            return states[:, 0]
        own = _mean(contexts.states, contexts.mask)[owners]
        return torch.cat([states[:, 0], matched(own, _mean(states[:, 1:], tokens.mask))], 1)


def matched(contexts: Tensor, replies: Tensor) -> Tensor:
    """Return (R, D) the terms of the cosine of two means (R, D), times D: about 1 each, however wide the network is."""
    directions = (nn.functional.normalize(each, dim=-1) for each in (contexts, replies))
    return next(directions) * next(directions) * contexts.shape[-1]


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    """Return (B, D) the mean of states (B, N, D) where ``mask`` (B, N) is True; 0 where it is so nowhere."""
    real = mask.unsqueeze(-1)
    return (states * real).sum(1) / real.sum(1).clamp(min=1)
