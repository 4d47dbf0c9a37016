"""A reply and a persona sentence become an NLI label: entailment, contradiction, or neutral.

Shape letters: B pairs, T tokens of the longest, W the encoder's width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from menura.batches.tokenizer import Tokenizer
from menura.errors import ConfigError
from menura.scorers.classifier import Encoded, Texts, device_of, log_probs, padded
from menura.scorers.data import ScorerData
from menura.scorers.optimizer_settings import Learning

LABELS = ("contradiction", "entailment", "neutral")  # in the order of the published scorer (PAML)
VERDICTS = {"contradiction": -1, "entailment": 1, "neutral": 0}
CONTROL = 3  # [CLS] A [SEP] B [SEP]


@dataclass(frozen=True)
class NliConfig:
    """How the scorer of the C score is trained; pairs have at most ``max_length`` tokens (Madotto et al., 2019)."""

    recipe: str = "scorer/nli"
    encoder: str = "minilm"
    max_length: int = 128
    dropout: float = 0.1
    data: ScorerData = field(default_factory=ScorerData)
    # No epoch is chosen by validation: the test part stays unused.
    learning: Learning = field(
        default_factory=lambda: Learning(epochs=3, batch_size=32, lr=1e-4, warmup_ratio=0.1, weight_decay=0.01)
    )
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a limit that leaves no room for two texts."""
        if self.max_length < CONTROL + 2:
            raise ConfigError(f"limit: {self.max_length}, must be at least {CONTROL + 2}")


class PairNetwork(nn.Module):
    """An encoder and three outputs on the mean of its token states."""

    def __init__(self, encoder: Any, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, len(LABELS))

    def forward(self, ids: Tensor, mask: Tensor, kinds: Tensor) -> Tensor:
        """Return logits (B, 3) of ids, mask and token types (0 the first text, 1 the second), each (B, T)."""
        read = self.encoder(input_ids=ids, attention_mask=mask.long(), token_type_ids=kinds).last_hidden_state
        real = mask[..., None].to(read.dtype)
        mean = (read * real).sum(1) / real.sum(1)  # (B, W)
        scores: Tensor = self.head(self.dropout(mean))
        return scores


@dataclass(frozen=True)
class Entailment:
    """The classifier of pairs: A is the reply, B the persona sentence."""

    network: PairNetwork
    tokenizer: Tokenizer
    max_length: int
    labels: tuple[str, ...] = LABELS

    def encode(self, texts: Texts) -> Encoded:
        """Return ``[CLS] A [SEP] B [SEP]``; while too long, the longer text is truncated at its end."""
        first, second = (list(self.tokenizer.encode(text)) for text in texts)
        while len(first) + len(second) + CONTROL > self.max_length:
            (first if len(first) >= len(second) else second).pop()
        opened, closed = self.tokenizer.control("[CLS]"), self.tokenizer.control("[SEP]")
        return Encoded((opened, *first, closed, *second, closed), len(first) + 2)

    def logits(self, batch: Sequence[Encoded]) -> Tensor:
        """Return (B, 3)."""
        ids, mask = padded([one.ids for one in batch], device_of(self.network))
        begins = torch.tensor([[one.second] for one in batch], device=ids.device)
        places = torch.arange(ids.shape[1], device=ids.device)
        scores: Tensor = self.network(ids, mask, ((places >= begins) & mask).long())
        return scores

    def nli_labels(self, pairs: Sequence[tuple[str, str]]) -> list[int]:
        """Return, for each (reply, sentence), +1 if the reply entails the sentence, −1 if it contradicts it, else 0."""
        chosen = log_probs(self, list(pairs)).argmax(-1).tolist()
        return [VERDICTS[self.labels[label]] for label in chosen]
