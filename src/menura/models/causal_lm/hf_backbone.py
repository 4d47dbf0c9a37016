"""Any network of transformers, through its own forward pass on padded rows.

Shape letters: W rows, T tokens of all rows concatenated, N wanted positions, B rows of a batch, L tokens of each,
D width, E width of the embeddings.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from menura.batches.varlen import SequenceLayout
from menura.models.causal_lm.hf_modules import Forward, standing_in
from menura.models.causal_lm.kv_cache import empty_cache, selected


class HFBackbone:
    """A network whose cache is the keys and values of each token."""

    packed = False  # the network makes its own masks, of padded rows

    def __init__(self, network: PreTrainedModel, blocks: Sequence[nn.Module], first: int) -> None:
        self._network = network
        self._blocks = blocks
        self._first = first
        self._takes_positions = "position_ids" in signature(type(network.base_model).forward).parameters

    def rows(self, vectors: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        """Run it on rows padded on the right, so that causal attention never sees the padding."""
        return self._run(_padded(vectors, rows))[rows.row[at], rows.positions[at]]

    def forward_lower(self, vectors: Tensor, rows: SequenceLayout) -> Tensor:
        """Run it with the upper layers replaced by the identity."""
        entered: list[Tensor] = []

        def noting(hidden: Tensor) -> Tensor:
            entered.append(hidden)
            return hidden

        upper = len(self._blocks) - self._first
        with standing_in(self._blocks[self._first :], self._stand_ins(self._first, [noting] + [_same] * (upper - 1))):
            self._run(_padded(vectors, rows))
        return entered[0][rows.row, rows.positions]

    def forward_upper(self, lower: Tensor, rows: SequenceLayout, at: Tensor) -> Tensor:
        """Run it with the lower layers replaced by their cached output."""
        kept = _padded(lower, rows)
        changes = [_same] * (self._first - 1) + [lambda hidden: kept]
        # What stands in for the embeddings is not read, but has to have their width.
        unread = kept.new_zeros((*kept.shape[:-1], self._network.get_input_embeddings().weight.shape[1]))
        with standing_in(self._blocks[: self._first], self._stand_ins(0, changes)):
            return self._run(unread)[rows.row[at], rows.positions[at]]

    def prefill(self, vectors: Tensor, rows: SequenceLayout) -> Any:
        """Run it on rows padded on the left."""
        return self.prefill_last(vectors, rows)[1] if len(vectors) else empty_cache(len(self._blocks))

    def prefill_last(self, vectors: Tensor, rows: SequenceLayout) -> tuple[Tensor, Any]:
        """Run it on rows padded on the left, so that all end in the last column."""
        cache = empty_cache(len(self._blocks))
        filled, seen = _padded(vectors, rows, left=True), _padded_on_left(rows)
        return self.extend(cache, filled, None if bool(seen.all()) else seen)[:, -1], cache

    def extend(self, cache: Any, vectors: Tensor, seen: Tensor | None) -> Tensor:
        """Run it with its cache."""
        batch, length, _ = vectors.shape
        read = cache.used
        if seen is None:
            positions = torch.arange(read, read + length, device=vectors.device).expand(batch, -1)
        else:
            positions = (seen.cumsum(1) - 1).clamp(min=0)[:, read:]
        output = self._network.base_model(
            inputs_embeds=vectors,
            attention_mask=None if seen is None else seen.long(),  # without a mask attention takes its fast path
            past_key_values=cache,
            use_cache=True,
            **({"position_ids": positions} if self._takes_positions else {}),
        )
        hidden: Tensor = output.last_hidden_state
        return hidden

    def reorder(self, cache: Any, rows: Tensor) -> Any:
        """Copy the rows."""
        return selected(cache, rows)

    def _run(self, vectors: Tensor) -> Tensor:
        hidden: Tensor = self._network.base_model(inputs_embeds=vectors, use_cache=False).last_hidden_state
        return hidden

    def _stand_ins(self, start: int, changes: Sequence[Forward]) -> list[Forward]:
        """Return forwards for the layers from ``start`` on that only change the hidden states."""
        counts = self._output_counts[start : start + len(changes)]
        return [_returning(change, count) for change, count in zip(changes, counts, strict=True)]

    @cached_property
    def _output_counts(self) -> list[int | None]:
        """How many values each layer returns as a tuple (Bloom, Falcon, RWKV); None if it is the hidden states."""
        counts: list[int | None] = []

        def note(block: nn.Module, inputs: Any, output: Any) -> None:
            del block, inputs
            counts.append(len(output) if isinstance(output, tuple) else None)

        hooks = [block.register_forward_hook(note) for block in self._blocks]
        table = self._network.get_input_embeddings().weight
        try:
            with torch.no_grad():
                self._run(table.new_zeros((1, 1, table.shape[1])))
        finally:
            for hook in hooks:
                hook.remove()
        return counts


@dataclass
class ReadEmbeddings:
    """All that was read of each row: embeddings (B, L, E), and where they are real (None: everywhere)."""

    vectors: Tensor
    seen: Tensor | None

    @property
    def used(self) -> int:
        """The tokens read so far, padding included."""
        return self.vectors.shape[1]


class RecomputedBackbone(HFBackbone):
    """A recurrent network, whose state would take in padding and run on into the next row of a packed sequence.

    What was read is kept as embeddings, and every step reads the whole rows again, padded on the right, where nothing
    before the padding can depend on it. A reply of n tokens so costs n passes over its context.
    """

    def prefill(self, vectors: Tensor, rows: SequenceLayout) -> ReadEmbeddings:
        """Keep the embeddings, padded on the left; nothing is run."""
        seen = _padded_on_left(rows)
        return ReadEmbeddings(_padded(vectors, rows, left=True), None if bool(seen.all()) else seen)

    def prefill_last(self, vectors: Tensor, rows: SequenceLayout) -> tuple[Tensor, ReadEmbeddings]:
        """Run it on rows padded on the right."""
        ends = torch.tensor(rows.lengths, device=rows.device) - 1
        hidden = self._run(_padded(vectors, rows))
        return hidden[torch.arange(len(ends), device=rows.device), ends], self.prefill(vectors, rows)

    def extend(self, cache: ReadEmbeddings, vectors: Tensor, seen: Tensor | None) -> Tensor:
        """Run it on all that was read and the new tokens; where ``seen`` says padding, zeros are returned."""
        new = vectors.shape[1]
        cache.vectors, cache.seen = torch.cat([cache.vectors, vectors], 1), seen
        if seen is None:
            return self._run(cache.vectors)[:, -new:]
        batch, total = seen.shape
        places = (seen.cumsum(1) - 1).clamp(min=0)
        row = torch.arange(batch, device=seen.device)[:, None].expand(-1, total)
        filled = cache.vectors.new_zeros((batch, max(int(seen.sum(1).max()), 1), cache.vectors.shape[2]))
        hidden = self._run(filled.index_put((row[seen], places[seen]), cache.vectors[seen]))
        return hidden[row, places][:, -new:] * seen[:, -new:, None]

    def reorder(self, cache: ReadEmbeddings, rows: Tensor) -> ReadEmbeddings:
        """Copy the rows."""
        return ReadEmbeddings(cache.vectors[rows], None if cache.seen is None else cache.seen[rows])


def _returning(change: Forward, count: int | None) -> Forward:
    """Return a layer's forward that only changes the hidden states, and returns as many values as the layer does."""

    def forward(hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        changed = change(hidden_states)
        return changed if count is None else (changed, *[None] * (count - 1))

    return forward


def _same(hidden: Tensor) -> Tensor:
    """Return the input: the identity in place of a layer."""
    return hidden


def _padded(packed: Tensor, rows: SequenceLayout, *, left: bool = False) -> Tensor:
    """Return (W, L, D) from (T, D), padded with zeros."""
    return nn.utils.rnn.pad_sequence(
        list(torch.split(packed, list(rows.lengths))), batch_first=True, padding_side="left" if left else "right"
    )


def _padded_on_left(rows: SequenceLayout) -> Tensor:
    """Return (W, L), True where rows padded on the left are real."""
    lengths, longest = torch.tensor(rows.lengths, device=rows.device), max(rows.lengths)
    return torch.arange(longest, device=rows.device) >= longest - lengths[:, None]
