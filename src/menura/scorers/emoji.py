"""Predicts the emoji of a reply: the classifier of MojiTalk (Zhou and Wang, 2018).

Shape letters: B replies, T tokens of the longest, E the embedding's width, H a direction's.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from menura.batches.tokenizer import WORD_TOKENS, Tokenizer, word_tokenizer, words_of
from menura.errors import ConfigError
from menura.scorers.classifier import Encoded, Texts, device_of, log_probs, padded
from menura.scorers.data import ScorerData
from menura.scorers.optimizer_settings import Learning


@dataclass(frozen=True)
class EmojiConfig:
    """How the classifier behind E-acc is trained; the numbers are those of CMAML's evaluation.

    The vocabulary is the ``vocab_size`` most frequent words of training that occur ``min_count`` times or more. The
    weights with the lowest validation loss are kept. ``within`` names the emojis of the test tasks, comma-separated;
    empty means the eight rarest with a hundred replies in the test part.
    """

    recipe: str = "scorer/emoji"
    hidden_size: int = 128
    dropout: float = 0.2
    vocab_size: int = 20_000
    min_count: int = 2
    max_length: int = 64  # words of a reply; the rest is truncated
    within: str = ""
    data: ScorerData = field(default_factory=lambda: ScorerData(eval_files="test"))
    learning: Learning = field(
        default_factory=lambda: Learning(epochs=6, batch_size=128, lr=1e-3, linear_decay=False, validation_share=0.1)
    )
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that are not positive."""
        for name in ("hidden_size", "vocab_size", "min_count", "max_length"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: {getattr(self, name)}, must be at least 1")


class EmojiNetwork(nn.Module):
    """Embeddings, two stacked bidirectional GRUs, attention over both and the embeddings."""

    def __init__(self, words: int, width: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(words, width)
        self.lower = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.upper = nn.GRU(2 * width, width, batch_first=True, bidirectional=True)
        self.attention = nn.Linear(5 * width, 1)
        self.head = nn.Linear(5 * width, labels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return (B, labels) of ids and mask, (B, T)."""
        lengths = mask.sum(1).cpu()
        embedded = self.dropout(self.embeddings(ids))  # (B, T, E)
        below = _read(self.lower, embedded, lengths)  # (B, T, 2H)
        above = _read(self.upper, self.dropout(below), lengths)
        seen = torch.cat([below, above, embedded], -1)  # (B, T, 4H + E)
        shares = self.attention(seen).squeeze(-1).masked_fill(~mask, -torch.inf).softmax(-1)  # (B, T)
        scores: Tensor = self.head(self.dropout((seen * shares[..., None]).sum(1)))
        return scores


def _read(layer: nn.GRU, inputs: Tensor, lengths: Tensor) -> Tensor:
    packed, _ = layer(pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False))
    return pad_packed_sequence(packed, batch_first=True, total_length=inputs.shape[1])[0]


@dataclass(frozen=True)
class EmojiClassifier:
    """The classifier of single replies."""

    network: EmojiNetwork
    tokenizer: Tokenizer
    max_length: int
    labels: tuple[str, ...]

    def encode(self, texts: Texts) -> Encoded:
        """Return the reply's words; an empty one becomes the unknown word."""
        ids = self.tokenizer.encode(texts[0])[: self.max_length]
        return Encoded(ids or (self.tokenizer.control("<unk>"),))

    def logits(self, batch: Sequence[Encoded]) -> Tensor:
        """Return (B, labels)."""
        ids, mask = padded([one.ids for one in batch], device_of(self.network))
        scores: Tensor = self.network(ids, mask)
        return scores

    def log_probs(self, replies: Sequence[str]) -> Tensor:
        """Return (replies, labels)."""
        return log_probs(self, [(reply,) for reply in replies])


def words_learnt(texts: Sequence[str], config: EmojiConfig) -> Tokenizer:
    """Return the vocabulary of training texts, the most frequent words first."""
    known = words_of(texts)
    all_words = word_tokenizer(known)
    counts = Counter(number for text in texts for number in all_words.encode(text))
    counted = [(counts[number], word) for number, word in enumerate(known, start=len(WORD_TOKENS))]
    frequent = sorted((pair for pair in counted if pair[0] >= config.min_count), key=lambda pair: (-pair[0], pair[1]))
    return word_tokenizer([word for _, word in frequent[: config.vocab_size]])
