"""A causal language model with token types and a next-utterance head (TransferTransfo: Wolf et al., 2019).

Shape letters: B exchanges, R replies per exchange (its own first, then its negatives), D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from menura.batches.batch import Batch
from menura.batches.encode import EncodedExchange, Ids
from menura.errors import ConfigError
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.model import CausalLm, CausalState
from menura.models.dialogue_model import DialogueModel, Loss, mean_loss

TOKEN_TYPES = OWN, PARTNER, FACTS = range(3)  # own is 0, so that a token without a type is the persona's own
HEAD_DEVIATION = 0.02  # GPT-2's initialisation


@dataclass(frozen=True)
class TransferTransfoConfig(CausalLmConfig):
    """A causal language model's settings and those of what TransferTransfo adds.

    ``token_types`` adds to each token an embedding by its source: the persona's turns, the partner's, the facts. The
    head learns to tell the reply from ``num_negatives`` replies of other personas, in ``num_choice_exchanges``
    exchanges of an episode; ``next_utterance_weight`` is the weight of its loss, 0 leaves the head out.
    """

    name: ClassVar[str] = "transfer_transfo"

    token_types: bool = True
    next_utterance_weight: float = 1.0
    num_negatives: int = 3
    num_choice_exchanges: int = 4

    def __post_init__(self) -> None:
        """Refuse a head that has nothing to choose from."""
        super().__post_init__()
        for name in ("num_negatives", "num_choice_exchanges"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"model.{name}: {getattr(self, name)}, must be at least 1",
                    hint="--set model.next_utterance_weight=0 leaves the head out",
                )
        if self.next_utterance_weight < 0:
            raise ConfigError(f"model.next_utterance_weight: {self.next_utterance_weight}, must not be negative")


class TransferTransfo(DialogueModel[CausalState]):
    """A causal language model's NLL of the reply, and a head's score of the reply as a whole."""

    def __init__(self, network: PreTrainedModel, config: TransferTransfoConfig) -> None:
        super().__init__()
        self.lm = CausalLm(network, config)
        if config.token_types:
            self.lm.add_token_types(len(TOKEN_TYPES))
        self.choice = ChoiceHead(network.config.hidden_size) if config.next_utterance_weight else None
        if self.choice is not None:
            self.choice.to(self.lm.device)
        self.choice_weight = config.next_utterance_weight
        self.num_negatives = config.num_negatives if config.next_utterance_weight else 0
        self.num_choice_exchanges = config.num_choice_exchanges

    # What it computes

    def loss(self, batch: Batch) -> Loss:
        """Return the NLL per token, plus the weighted NLL of choosing the reply among its negatives, if any."""
        asked = [place for place, e in enumerate(batch.exchanges) if e.negatives] if self.choice else []
        if not asked:
            loss = self.lm.loss(self._marked(batch))
            # The inner loop asks every trainable weight for a gradient; without negatives the head's is zero.
            return replace(loss, total=loss.total + self.choice.nothing()) if self.choice else loss
        loss, choosing = self._chosen(batch, asked)
        parts = {"reply": loss.total.detach(), "choice": choosing.detach()}
        return replace(loss, total=loss.total + self.choice_weight * choosing, parts=parts)

    def with_soft_targets(self, batch: Batch, share: float) -> Batch:
        """Return the batch with the model's present distribution at each label as soft target."""
        return replace(batch, soft_targets=self.lm.with_soft_targets(self._marked(batch), share).soft_targets)

    def prefill(self, batch: Batch) -> CausalState:
        """Read facts and context."""
        return self.lm.prefill(self._marked(batch))

    def prefill_logits(self, batch: Batch) -> tuple[Tensor, CausalState]:
        """Read facts and context, the last token included."""
        return self.lm.prefill_logits(self._marked(batch))

    def step(self, state: CausalState, last: Tensor) -> tuple[Tensor, CausalState]:
        """Read one token of the reply."""
        return self.lm.step(state, last)

    def step_logits(self, state: CausalState, last: Tensor) -> tuple[Tensor, CausalState]:
        """Read one token of the reply."""
        return self.lm.step_logits(state, last)

    def reorder_cache(self, state: CausalState, rows: Tensor) -> CausalState:
        """Return the state of some rows."""
        return self.lm.reorder_cache(state, rows)

    def reply_nll(self, batch: Batch, prefilled: CausalState | None = None) -> Tensor:
        """Return (B,) −log p of each reply; a context that exchanges share is read once."""
        return self.lm.reply_nll(self._marked(batch), prefilled)

    @property
    def chooses(self) -> bool:
        """Whether the model has the head."""
        return self.choice is not None

    @torch.no_grad()
    def reply_scores(self, batch: Batch, prefilled: CausalState | None = None) -> Tensor:
        """Return (B,) the head's score of each reply to one context that all exchanges share."""
        assert self.choice is not None, "asked for without a head"
        return self.choice(self.lm.reply_ends(self._marked(batch), prefilled))  # type: ignore[no-any-return]  # a module

    def _chosen(self, batch: Batch, asked: Sequence[int]) -> tuple[Loss, Tensor]:
        """Return the replies' loss, and () the mean NLL of choosing the replies ``asked`` among their negatives."""
        assert self.choice is not None, "asked for without a head"
        each = [[replace(e, reply=other.reply) for other in e.negatives] for e in (batch.exchanges[a] for a in asked)]
        read = self._marked(self.batch([*batch.exchanges, *chain.from_iterable(each)]))
        nll, ends = self.lm.read(read, len(batch))
        scores = self.choice(ends)
        theirs = scores[len(batch) :].split([len(negatives) for negatives in each])
        nll_of_choice = [
            -torch.cat([scores[a : a + 1], t]).log_softmax(0)[0] for a, t in zip(asked, theirs, strict=True)
        ]
        return mean_loss(nll, batch.reply_lengths), torch.stack(nll_of_choice).mean()

    # The base

    def neutral_weights(self) -> dict[str, Tensor]:
        """Return weights under which the model computes what its base does."""
        bare = {f"lm.{name}": value for name, value in self.lm.neutral_weights().items()}
        rows = self.lm.token_type_embeddings
        return bare if rows is None else {**bare, "lm.token_type_embeddings": torch.zeros_like(rows)}

    def forget_lower(self) -> None:
        """Empty the cache of frozen-layer output."""
        self.lm.forget_lower()

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights."""
        return self.lm.dtype

    def _marked(self, batch: Batch) -> Batch:
        """Add its token's type to each id; the language model separates the two again."""
        if self.lm.token_type_embeddings is None:
            return batch
        return replace(batch, exchanges=tuple(marked(exchange, self.lm.ids) for exchange in batch.exchanges))


class ChoiceHead(nn.Module):
    """A linear map of the hidden state (…, D) at a reply's end to one score (…)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # No bias: it is the same for all replies, so no choice would change by it.
        self.map = nn.Linear(width, 1, bias=False)
        nn.init.normal_(self.map.weight, std=HEAD_DEVIATION)

    def forward(self, ends: Tensor) -> Tensor:
        """Score normalised states: the scale of the last hidden state differs much between bases."""
        # Autocast leaves product and sum in full precision, a matrix product not; close scores must not be rounded.
        return (nn.functional.layer_norm(ends, ends.shape[-1:]) * self.map.weight[0]).sum(-1)

    def nothing(self) -> Tensor:
        """Return a zero () that is a function of the head."""
        return 0 * self.map.weight.sum()


def marked(exchange: EncodedExchange, ids: int) -> EncodedExchange:
    """Return an exchange whose ids are token + type * ``ids``."""
    facts = tuple(token + FACTS * ids for token in exchange.facts)
    return replace(exchange, facts=facts, context=_marked(exchange.context, exchange.turns, ids), negatives=())


def _marked(context: Ids, turns: Sequence[tuple[bool, int]], ids: int) -> Ids:
    marks: list[Any] = [OWN if own else PARTNER for own, tokens in turns for _ in range(tokens)]
    marks += [OWN] * (len(context) - len(marks))  # what opens the reply
    return tuple(token + mark * ids for token, mark in zip(context, marks, strict=True))
