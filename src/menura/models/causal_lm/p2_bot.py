"""A transmitter that replies and a receiver that scores whose facts a reply fits (P2 Bot: Liu et al., 2020).

Shape letters: B exchanges or pairs, R fact sets per exchange (its own first, then those of its negatives), F fact
tokens, U tokens of the reply, D width, S size of the receiver.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from menura.batches.batch import Batch
from menura.batches.chat_format import ChatFormat
from menura.batches.collate import pad
from menura.batches.encode import EncodedExchange, Ids
from menura.errors import ConfigError
from menura.models.causal_lm.model import CausalLm, CausalState
from menura.models.causal_lm.transfer_transfo import TransferTransfo, TransferTransfoConfig
from menura.models.dialogue_model import DialogueModel, Loss
from menura.models.layers.embeddings_and_heads import wide

SHARPNESS = 10.0  # initial scale of the scores: cosines are small numbers, a softmax wants larger ones


@dataclass(frozen=True)
class P2BotConfig(TransferTransfoConfig):
    """The transmitter's settings and those of the receiver.

    The receiver learns, with weight ``perception_weight``, to tell the replying persona's facts from those of the
    negatives; ``receiver_size`` is the width of its projections. It needs negatives even without the choice head.
    """

    name: ClassVar[str] = "p2_bot"

    receiver_size: int = 64
    perception_weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a receiver without a width, and a base that is trained: fluency is scored by the frozen base."""
        super().__post_init__()
        if self.receiver_size < 1:
            raise ConfigError(f"model.receiver_size: {self.receiver_size}, must be at least 1")
        if self.perception_weight < 0:
            raise ConfigError(f"model.perception_weight: {self.perception_weight}, must not be negative")
        if self.adapters.kind == "none" or self.train_base:
            raise ConfigError(
                "the base judges how fluent a reply is, so it must stay as it is",
                hint="give it adapters and leave model.train_base=false",
            )


class Receiver(nn.Module):
    """Each reply token is scored by the fact token most similar to it; the scores are summed with token weights.

    P2 Bot's receiver is a pretrained network of its own (Liu et al., 2020). This one is the late interaction of
    ColBERT (Khattab and Zaharia, 2020): a few ten thousand weights, and words unseen in training can match.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.map = nn.Linear(width, size, bias=False)
        self.weight = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.weight.weight)
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))

    def forward(self, facts: Tensor, facts_mask: Tensor, reply: Tensor, reply_mask: Tensor) -> Tensor:
        """Return (B,) scores from token vectors (B, F, D), (B, U, D) and masks (B, F), (B, U) that are True where real.

        A pair without any fact or without any word scores zero.
        """
        if not (facts.shape[1] and reply.shape[1]):
            return 0 * self.sharpness.expand(len(reply))
        facts, reply = (nn.functional.layer_norm(vectors, vectors.shape[-1:]) for vectors in (facts, reply))
        keys, questions = (nn.functional.normalize(self.map(vectors), dim=-1) for vectors in (facts, reply))
        near = questions @ keys.transpose(1, 2)  # (B, U, F), cosines
        least = torch.finfo(near.dtype).min
        nearest = near.masked_fill(~facts_mask[:, None], -1.0).amax(-1) * facts_mask.any(1, keepdim=True)  # (B, U)
        shares = self.weight(reply)[..., 0].masked_fill(~reply_mask, least).softmax(-1) * reply_mask
        scores: Tensor = self.sharpness * (shares * nearest).sum(-1)
        return scores


class P2Bot(DialogueModel[CausalState]):
    """Replies through its transmitter; self-play maximises ``rewards``."""

    def __init__(self, network: PreTrainedModel, config: P2BotConfig, chat_format: ChatFormat | None = None) -> None:
        super().__init__()
        self.transmitter = TransferTransfo(network, config)
        self.receiver = Receiver(network.config.hidden_size, config.receiver_size).to(self.lm.device)
        self.perception_weight = config.perception_weight
        self.num_negatives, self.num_choice_exchanges, self.max_length = (
            config.num_negatives,
            config.num_choice_exchanges,
            config.max_length,
        )
        self._chat_format = chat_format

    # What it computes

    def loss(self, batch: Batch) -> Loss:
        """Return the transmitter's loss, plus the weighted NLL of the right facts among those of the negatives."""
        loss = self.transmitter.loss(batch)
        scores = self._perceived(batch)
        perceiving = torch.stack([-of_one.log_softmax(0)[0] for of_one in scores]).mean() if scores else None
        if perceiving is None:
            # The inner loop asks every trainable weight for a gradient; without negatives the receiver's is zero.
            nothing = sum((0 * weight.sum() for weight in self.receiver.parameters()), torch.zeros_like(loss.total))
            return replace(loss, total=loss.total + nothing)
        parts = loss.parts or {"reply": loss.total.detach()}
        total = loss.total + self.perception_weight * perceiving
        return replace(loss, total=total, parts={**parts, "receiver": perceiving.detach()})

    def with_soft_targets(self, batch: Batch, share: float) -> Batch:
        """Return the batch with the model's present distribution at each label as soft target."""
        return self.transmitter.with_soft_targets(batch, share)

    def prefill(self, batch: Batch) -> CausalState:
        """Read facts and context."""
        return self.transmitter.prefill(batch)

    def prefill_logits(self, batch: Batch) -> tuple[Tensor, CausalState]:
        """Read facts and context, the last token included."""
        return self.transmitter.prefill_logits(batch)

    def step(self, state: CausalState, last: Tensor) -> tuple[Tensor, CausalState]:
        """Read one token of the reply."""
        return self.transmitter.step(state, last)

    def step_logits(self, state: CausalState, last: Tensor) -> tuple[Tensor, CausalState]:
        """Read one token of the reply."""
        return self.transmitter.step_logits(state, last)

    def reorder_cache(self, state: CausalState, rows: Tensor) -> CausalState:
        """Return the state of some rows."""
        return self.transmitter.reorder_cache(state, rows)

    def reply_nll(self, batch: Batch, prefilled: CausalState | None = None) -> Tensor:
        """Return (B,) −log p of each reply; a context that exchanges share is read once."""
        return self.transmitter.reply_nll(batch, prefilled)

    @property
    def chooses(self) -> bool:
        """Whether the transmitter has its choice head."""
        return self.transmitter.chooses

    def reply_scores(self, batch: Batch, prefilled: CausalState | None = None) -> Tensor:
        """Return (B,) the head's scores."""
        return self.transmitter.reply_scores(batch, prefilled)

    # Rewards

    @property
    def chat_format(self) -> ChatFormat:
        """The chat format of the model's input."""
        assert self._chat_format is not None, "made to be counted, not to speak"
        return self._chat_format

    @torch.no_grad()
    def rewards(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return (B,) by name: fluency, coherence and perception, each in 0..1.

        A reward that cannot be computed is left out: coherence without a head, perception without facts.
        """
        rewards = {"fluency": self._fluency(batch)}
        compared = [exchange for exchange in batch.exchanges if exchange.negatives]
        if self.chooses and len(compared) == len(batch):
            rewards["coherence"] = torch.stack([self._coherence(exchange) for exchange in batch.exchanges])
        scores = self._perceived(batch)
        if len(scores) == len(batch):
            rewards["perception"] = torch.stack([of_one.softmax(0)[0] for of_one in scores])
        return rewards

    def _fluency(self, batch: Batch) -> Tensor:
        """Return the base's geometric mean probability of a token, from the reply alone; 0 for an empty reply."""
        replies = [self._words(exchange.reply) for exchange in batch.exchanges]
        spoken = [place for place, words in enumerate(replies) if words]
        fluency = torch.zeros(len(batch), device=self.device, dtype=self.dtype)
        if spoken:
            alone = [EncodedExchange("", "", (), self.chat_format.reply_open, replies[place]) for place in spoken]
            bare = {name.removeprefix("transmitter."): value for name, value in self.neutral_weights().items()}
            loss = torch.func.functional_call(self.transmitter, bare, (self.batch(alone),))
            fluency[torch.tensor(spoken, device=self.device)] = (-loss.nll / loss.tokens).exp()
        return fluency

    def _coherence(self, exchange: EncodedExchange) -> Tensor:
        """Return the head's probability () of a reply among its negatives."""
        replies = [exchange.reply, *(negative.reply for negative in exchange.negatives)]
        whole = [replace(exchange, reply=(*self._words(reply), self.chat_format.end)) for reply in replies]
        return self.reply_scores(self.batch(whole)).softmax(0)[0]

    def _words(self, reply: Ids) -> Ids:
        return reply[:-1] if reply and reply[-1] == self.chat_format.end else reply

    def _perceived(self, batch: Batch) -> list[Tensor]:
        """Return scores (R,) of each exchange that has facts and negatives with facts."""
        pairs, counts = [], []
        for exchange in batch.exchanges:
            known = [exchange.facts, *(other.facts for other in exchange.negatives if other.facts)]
            if exchange.facts and len(known) > 1:
                pairs += [(facts, exchange.reply) for facts in known]
                counts.append(len(known))
        if not pairs:
            return []
        facts, reply = ([pair[side] for pair in pairs] for side in (0, 1))
        read = (part for ids in (facts, reply) for part in self._vectors(ids))
        scores: Tensor = self.receiver(*read)
        return list(torch.split(scores, counts))

    def _vectors(self, ids: list[Ids]) -> tuple[Tensor, Tensor]:
        padded, mask = (x.to(self.device) for x in pad(ids))
        return wide(self.lm.token_vectors(padded).detach()), mask

    # The base

    @property
    def lm(self) -> CausalLm:
        """The causal language model inside."""
        return self.transmitter.lm

    def neutral_weights(self) -> dict[str, Tensor]:
        """Return weights under which the model computes what its base does."""
        return {f"transmitter.{name}": value for name, value in self.transmitter.neutral_weights().items()}

    def forget_lower(self) -> None:
        """Empty the cache of frozen-layer output."""
        self.transmitter.forget_lower()

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.transmitter.dtype
