"""Continuous batching: rows of different personas enter and leave a running batch of one causal language model.

Each row has a slot: its key-value cache, its adapters in a bank, and its cache of a person's words. What a row computes
does not depend on the other rows, but for rounding.

Shape letters: B rows in use, S slots, L tokens of a prompt, V vocabulary, D width.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from menura.batches.encode import EncodedExchange
from menura.batches.varlen import SequenceLayout
from menura.models.causal_lm.adapter_bank import AdapterBank, batched_adapters
from menura.models.causal_lm.backbone import FastBackbone
from menura.models.causal_lm.model import CausalLm, CausalState
from menura.models.causal_lm.slot_cache import CachedPrefix
from menura.models.layers.neural_cache import NeuralCache
from menura.models.layers.packed_linear import keeping_copies

PREFIX = "adapters."  # of the names of weights that rows of one batch may differ in


@dataclass(frozen=True)
class PendingPrompt:
    """A prompt of L ids, to be read as a persona: its weights, and its cache of words.

    ``prefix`` is what an earlier reading with the same weights kept of the first of these ids, but not of all.
    """

    ids: tuple[int, ...]
    weights: Mapping[str, Tensor]
    cache: NeuralCache | None = None
    prefix: CachedPrefix | None = None


class CausalSlots:
    """The running batch of a causal language model with a fast backbone; rows are numbered 0 to B − 1."""

    def __init__(self, model: CausalLm, backbone: FastBackbone) -> None:
        self._model = model
        self._backbone = backbone
        self._cache = backbone.slot_cache()
        self._own = {f"{PREFIX}{name}": value.detach() for name, value in model.adapters.named_parameters()}
        self._stacked: dict[str, Tensor] = {}  # (S, …) of each adapter weight
        self._just_read: dict[int, Mapping[str, Tensor]] = {}  # whose weights ``read`` wrote for rows to come
        self._caches: list[NeuralCache | None] = []

    def __len__(self) -> int:
        return len(self._cache.lengths)

    def fits(self, weights: Mapping[str, Tensor]) -> bool:
        """Return whether a persona differs from the model in adapters alone, so that a row can have its weights."""
        return weights.keys() <= self._own.keys()

    @torch.inference_mode()
    def read(self, prompts: Sequence[PendingPrompt]) -> list[tuple[Tensor, CachedPrefix]]:
        """Read prompts, each as its persona; return for each the logits (V,) of its next token, and what was read.

        Prompts of which nothing is known are read in one pass. Their weights are written where those of the next rows
        stand, so that ``put`` finds them there if the prompts become rows in this order.
        """
        read: dict[int, tuple[Tensor, CachedPrefix]] = {}
        new = [place for place, prompt in enumerate(prompts) if prompt.prefix is None]
        for places in [new] * bool(new) + [[place] for place in range(len(prompts)) if place not in new]:
            some = [prompts[place] for place in places]
            with self._model.using_adapters(self._bank(some), range(len(some))):
                hidden, state = self._read(some)
            logits = self._logits(hidden, [prompt.cache for prompt in some])
            whole = state.cache.prefixes([prompt.ids for prompt in some])
            read.update(zip(places, zip(logits, whole, strict=True), strict=True))
        return [read[place] for place in range(len(prompts))]

    def _bank(self, prompts: Sequence[PendingPrompt]) -> AdapterBank:
        first = len(self)
        self._just_read.clear()
        for row, prompt in enumerate(prompts, start=first):
            self._write(row, prompt.weights)
            self._just_read[row] = prompt.weights
        return AdapterBank({name: stacked[first : first + len(prompts)] for name, stacked in self._stacked.items()})

    def _write(self, row: int, weights: Mapping[str, Tensor]) -> None:
        """Write a persona's adapters for a row."""
        for name, own in self._own.items():
            self._room_for(name, row)[row] = weights.get(name, own)

    def _read(self, prompts: Sequence[PendingPrompt]) -> tuple[Tensor, CausalState]:
        """Read prompts of which nothing is known, or one on from what is known of it."""
        model, prefix = self._model, prompts[0].prefix
        if prefix is None:
            return model.prefill_hidden(
                model.batch([EncodedExchange("", "", (), prompt.ids, ()) for prompt in prompts])
            )
        row = torch.zeros(1, dtype=torch.long, device=model.device)
        rest = torch.tensor([prompts[0].ids[len(prefix.ids) :]], device=model.device)
        return model.extend_hidden(CausalState(self._backbone.after(prefix), None, row), rest)

    def _logits(self, hidden: Tensor, caches: Sequence[NeuralCache | None]) -> Tensor:
        """Return logits (B, V) from hidden states (B, D), each row's cache mixed in."""
        logits = self._model.logits_of(hidden)
        for row, cache in enumerate(caches):
            if cache is not None:
                logits[row] = cache.mixed(logits[row], hidden[row])
        return self._model.suppressed(logits)

    @torch.inference_mode()
    def put(self, prefix: CachedPrefix, weights: Mapping[str, Tensor], cache: NeuralCache | None = None) -> int:
        """Let a row run that has read a prefix; return its number, B before the call."""
        row = self._cache.put(prefix)
        if self._just_read.pop(row, None) is not weights:
            self._write(row, weights)
        self._caches.append(cache)
        return row

    def _room_for(self, name: str, row: int) -> Tensor:
        stacked = self._stacked.get(name)
        if stacked is None or row >= len(stacked):
            like = self._own[name]
            grown = like.new_empty((max(1, 2 * row), *like.shape))
            if stacked is not None:
                grown[: len(stacked)] = stacked
            stacked = self._stacked[name] = grown
        return stacked

    @torch.inference_mode()
    def step(self, last: Tensor) -> Tensor:
        """Read one more token of each row, ``last`` (B,); return logits (B, V), −inf at tokens that no reply has."""
        count = len(self)
        bank = AdapterBank({name: stacked[:count] for name, stacked in self._stacked.items()})
        rows = torch.arange(count, device=last.device)
        with keeping_copies():
            with self._one_each(bank, rows):
                hidden = self._backbone.extend_slots(self._cache, self._model.token_vectors(last))
            return self._logits(hidden, self._caches)

    @contextmanager
    def _one_each(self, bank: AdapterBank, rows: Tensor) -> Iterator[None]:
        if not self._own:
            yield
            return
        layout = SequenceLayout((1,) * len(rows), rows.device)
        with (
            batched_adapters(bank, rows, self._model.adapters, PREFIX) as adapters,
            adapters.reading(rows, layout, packed=True),
        ):
            yield

    def prefix(self, row: int, ids: Sequence[int]) -> CachedPrefix:
        """Return what a row has read, for a later ``read``; ``ids`` are its prompt and reply."""
        return self._cache.prefix(row, ids)

    @torch.inference_mode()
    def remove(self, row: int) -> int:
        """Remove a row; return the number that the last row had, which has this row's number now."""
        last = self._cache.remove(row)
        self._just_read.clear()
        if row != last:
            for stacked in self._stacked.values():
                stacked[row] = stacked[last]
            self._caches[row] = self._caches[last]
        self._caches.pop()
        return last


def slots_of(model: object) -> CausalSlots | None:
    """Return an empty running batch of a model; None for one whose replies cannot be continued in one batch."""
    if type(model) is not CausalLm or not isinstance(model.backbone, FastBackbone):
        return None
    return CausalSlots(model, model.backbone)
