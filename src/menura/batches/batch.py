"""Exchanges become tensors.

Shape letters: B exchanges, F fact, C context, R reply tokens, W rows, L row tokens, N labels.

A mask is True where the token is real.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from menura.batches.collate import Ids, Labels, on_device, pack, pad
from menura.batches.encode import EncodedExchange
from menura.batches.prefix_tree import Branch, prefix_trees
from menura.batches.time_major import TimeMajor
from menura.batches.varlen import PackedChunk, packed_chunks


@dataclass(frozen=True)
class Padded:
    """Padded sequences."""

    ids: Tensor  # (B, L) int64
    mask: Tensor  # (B, L) bool

    @property
    def lengths(self) -> Tensor:
        """(B,) the number of real tokens per row."""
        return self.mask.sum(1)


@dataclass(frozen=True)
class PackedSequences:
    """Rows for models that read one sequence: exchanges with a common prefix share a row.

    The replies of one dialogue are all predicted in one pass, as each exchange's sequence is the beginning of the next
    one's. ``labels`` are the rows and positions with loss, and the exchange of each.
    """

    rows: tuple[Ids, ...]  # longest first
    labels: Labels
    branches: tuple[tuple[Branch, ...], ...] = ()  # of each row; empty if no row has any
    _passes: dict[int, tuple[PackedChunk, ...]] = field(default_factory=dict, repr=False, compare=False)

    def chunks(self, tokens: int) -> tuple[PackedChunk, ...]:
        """Return the rows, concatenated to chunks of at most ``tokens`` tokens; made once."""
        if tokens not in self._passes:
            self._passes[tokens] = tuple(packed_chunks(self.rows, self.labels, tokens, self.branches))
        return self._passes[tokens]

    @cached_property
    def ids(self) -> Tensor:
        """(W, L) int64, padded on the right."""
        return pad(self.rows)[0].to(self.labels.row.device)

    @cached_property
    def mask(self) -> Tensor:
        """(W, L) bool."""
        return pad(self.rows)[1].to(self.labels.row.device)


@dataclass(frozen=True)
class SoftTargets:
    """Soft targets for self-distillation: a model's distribution at each label, and the share of the loss on it.

    They are kept as ``states``, hidden states (N, D) of each chunk that an output layer which does not learn maps to
    logits, or else as ``probabilities`` (N, V): of a large vocabulary those take a megabyte a token.
    """

    share: float  # 0 to 1
    probabilities: tuple[Tensor, ...] = ()
    states: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Batch:
    """B encoded exchanges on one device, and the tensors a model reads from them, made on first use.

    With a ``chunk`` the loss is that chunk's share of the whole batch's (``part``).
    """

    exchanges: tuple[EncodedExchange, ...]
    device: torch.device = torch.device("cpu")
    soft_targets: SoftTargets | None = field(default=None, repr=False, compare=False, kw_only=True)
    chunk: int | None = field(default=None, kw_only=True)

    def part(self, chunk: int) -> "Batch":
        """Return the same batch for the loss of one of its packed chunks; both share what is packed."""
        part = replace(self, chunk=chunk)
        part.__dict__["packed"] = self.packed  # where ``cached_property`` keeps it
        return part

    def __len__(self) -> int:
        return len(self.exchanges)

    @cached_property
    def facts(self) -> Padded:
        """(B, F)."""
        return self._padded([e.facts for e in self.exchanges])

    @cached_property
    def context(self) -> Padded:
        """(B, C)."""
        return self._padded([e.context for e in self.exchanges])

    @cached_property
    def reply(self) -> Padded:
        """(B, R), end token included."""
        return self._padded([e.reply for e in self.exchanges])

    @cached_property
    def prefix(self) -> Padded:
        """(B, F + C), padded on the left, so that the next token follows directly."""
        return self._padded([e.prefix for e in self.exchanges], left=True)

    @cached_property
    def source(self) -> TimeMajor:
        """Each prefix without its last token, time-major, for recurrent models."""
        return TimeMajor.of([e.prefix[:-1] for e in self.exchanges], self.device, shared=True)

    @cached_property
    def packed(self) -> PackedSequences:
        """Packed rows with their label positions."""
        rows, labels = pack([(e.prefix, e.reply) for e in self.exchanges])
        return PackedSequences(tuple(rows), on_device(labels, self.device))

    @cached_property
    def prefix_tree(self) -> PackedSequences:
        """Packed rows with branches: a common prefix is read once, wherever the sequences part."""
        rows, branches, labels = prefix_trees([(e.prefix, e.reply) for e in self.exchanges])
        return PackedSequences(tuple(rows), on_device(labels, self.device), tuple(branches))

    @property
    def reply_lengths(self) -> Tensor:
        """(B,) number of tokens of each reply, end token included."""
        return torch.tensor([len(e.reply) for e in self.exchanges], device=self.device)

    def _padded(self, sequences: Sequence[Ids], *, left: bool = False) -> Padded:
        ids, mask = pad(sequences, left=left)
        return Padded(ids.to(self.device), mask.to(self.device))
