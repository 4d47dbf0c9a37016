"""Which of some personas wrote a reply: logistic regression over a frozen sentence encoder's states.

Shape letters: N replies, P personas, D values of an embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from menura.batches.tokenizer import Tokenizer
from menura.errors import EpisodeError
from menura.scorers.classifier import Encoded, device_of, padded, read_once
from menura.scorers.encoders import load_encoder

ENCODER = "minilm"
LONGEST = 128  # tokens of a reply that are read
PENALTY = 1e-4  # of the squared weights, beside the mean loss of a reply; chosen on training speakers
STEPS = 200  # of L-BFGS at most


@dataclass(frozen=True)
class PersonaClassifier:
    """A linear layer (D, P) over embeddings of replies, one class for each persona."""

    network: nn.Module
    tokenizer: Tokenizer
    personas: tuple[str, ...]
    weight: Tensor
    bias: Tensor
    replies: int  # that it was trained on

    @classmethod
    def trained(cls, replies: Mapping[str, Sequence[str]], encoder: str = ENCODER) -> "PersonaClassifier":
        """Return a classifier of personas, trained on replies of each; every persona weighs the same.

        Raises EpisodeError for fewer than two personas with replies, ConfigError where the encoder is missing.
        """
        known = {persona: texts for persona, texts in sorted(replies.items()) if texts}
        if len(known) < 2:
            raise EpisodeError(
                "whose-reply: fewer than two personas have dialogues beside support and query",
                hint="a smaller --k, or more --personas",
            )
        network, tokenizer = load_encoder(encoder)
        texts = [text for own in known.values() for text in own]
        embeddings = _embedded(network.eval(), tokenizer, texts)
        labels = torch.tensor([label for label, own in enumerate(known.values()) for _ in own])
        shares = torch.tensor([1 / len(own) / len(known) for own in known.values() for _ in own])
        weight, bias = _logistic(embeddings, labels, shares)
        return cls(network, tokenizer, tuple(known), weight, bias, len(texts))

    @property
    def line(self) -> str:
        """What the classifier is, for signatures."""
        return f"{ENCODER}+logistic, {len(self.personas)} personas, {self.replies} replies"

    def log_probs(self, replies: Sequence[str]) -> Tensor:
        """Return the log-probability of each persona for each reply (N, P)."""
        return functional.log_softmax(_embedded(self.network, self.tokenizer, replies) @ self.weight + self.bias, -1)

    def ranks(self, replies: Sequence[str], own: Sequence[str]) -> list[int | None]:
        """Return the rank of each reply's own persona, 0 for the likeliest; None for a persona that is none of these.

        Ties count against it.
        """
        place = {persona: number for number, persona in enumerate(self.personas)}
        ranks: list[int | None] = []
        for row, persona in zip(self.log_probs(replies), own, strict=True):
            known = place.get(persona)
            ranks.append(None if known is None else int((row >= row[known]).sum()) - 1)
        return ranks


@torch.no_grad()
def _embedded(network: nn.Module, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Return the mean of a text's last states, of length 1 (N, D); equal texts are read once."""
    opened, closed = tokenizer.control("[CLS]"), tokenizer.control("[SEP]")

    def encoded(text: str) -> Encoded:
        return Encoded((opened, *tokenizer.encode(text)[: LONGEST - 2], closed))

    def means(batch: Sequence[Encoded]) -> Tensor:
        rows, mask = padded([one.ids for one in batch], device_of(network))
        states = network(input_ids=rows, attention_mask=mask.long()).last_hidden_state * mask[..., None]
        return functional.normalize(states.sum(1) / mask.sum(1, keepdim=True), dim=-1)

    return read_once(texts, encoded, means)


def _logistic(embeddings: Tensor, labels: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight (D, P) and bias (P,) of multinomial logistic regression; ``shares`` (N,) weigh the replies."""
    personas = int(labels.max()) + 1
    weight = torch.zeros(embeddings.shape[1], personas, requires_grad=True)
    bias = torch.zeros(personas, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        each = functional.cross_entropy(embeddings @ weight + bias, labels, reduction="none")
        loss = (each * shares).sum() + PENALTY * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
