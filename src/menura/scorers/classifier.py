"""The contract of scorers: texts in, the log-probability of each label out.

Shape letters: B examples, N all examples, L labels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from menura.batches.tokenizer import Tokenizer

Texts = tuple[str, ...]  # one text, or a pair of them
Text = TypeVar("Text", str, Texts)
READ_AT_ONCE = 64  # examples in one batch without gradient: bounds memory, changes no label


@dataclass(frozen=True)
class LabelledText:
    """Texts and their human label."""

    texts: Texts
    label: str


@dataclass(frozen=True)
class Encoded:
    """Texts as ids; ``second`` is where the second of a pair begins."""

    ids: tuple[int, ...]
    second: int = 0


class Classifier(Protocol):
    """A network with its labels, in the order of its outputs, and its vocabulary."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, by the network's outputs."""

    @property
    def network(self) -> nn.Module:
        """All that trains."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary."""

    def encode(self, texts: Texts) -> Encoded:
        """Return texts as ids, truncated to the network's length; never empty."""

    def logits(self, batch: Sequence[Encoded]) -> Tensor:
        """Return logits (B, L)."""


@torch.no_grad()
def log_probs(classifier: Classifier, texts: Sequence[Texts]) -> Tensor:
    """Return log-probabilities (N, L) in the given order; equal texts are read once, batched by length."""
    classifier.network.eval()
    rows = read_once(texts, classifier.encode, lambda batch: classifier.logits(batch).log_softmax(-1))
    return rows if texts else torch.zeros(0, len(classifier.labels))


def read_once(
    texts: Sequence[Text], encode: Callable[[Text], Encoded], read: Callable[[Sequence[Encoded]], Tensor]
) -> Tensor:
    """Return a row for each text (N, …), in the given order; equal texts are read once, batched by length."""
    different = list(dict.fromkeys(texts))
    encoded = [encode(one) for one in different]
    order = sorted(range(len(encoded)), key=lambda place: len(encoded[place].ids))
    found: dict[Text, Tensor] = {}
    for start in range(0, len(order), READ_AT_ONCE):
        places = order[start : start + READ_AT_ONCE]
        rows = read([encoded[place] for place in places]).cpu()
        found |= {different[place]: row for place, row in zip(places, rows, strict=True)}
    return torch.stack([found[one] for one in texts]) if texts else torch.zeros(0)


def padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids (B, T), padded by 0 on the right, and their mask, True where a token is real."""
    longest = max(len(row) for row in rows)
    ids = torch.tensor([[*row, *(0,) * (longest - len(row))] for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(longest, device=device) < lengths[:, None]


def device_of(network: nn.Module) -> torch.device:
    """Return a network's device."""
    return next(network.parameters()).device
