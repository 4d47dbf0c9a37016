"""A package that somebody else wrote: a model that looks at the last word alone, and a method of a single step."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from menura.adaptation.finetune import Finetune, support_and_query_loss
from menura.adaptation.inner_loop import InnerLoop, StepCallback
from menura.adaptation.weights import PersonaWeights, adaptable_parameters, loss_with
from menura.batches.batch import Batch
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.models.catalogue import ModelEntry
from menura.models.dialogue_model import DialogueModel, Loss, mean_loss
from menura.registry import model_over_words


@dataclass(frozen=True)
class ToyBigramConfig:
    """Settings of the bigram model."""

    name: ClassVar[str] = "toy-bigram"

    vocab_size: int = 0
    max_length: int = 128
    init_from: str = ""


class ToyBigram(DialogueModel[None]):
    """The next word from the last one: a table of logits (V, V)."""

    def __init__(self, settings: ToyBigramConfig) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(settings.vocab_size, settings.vocab_size))
        self.suppress_ids: tuple[int, ...] = ()

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of the batch's replies."""
        nll = []
        for exchange in batch.exchanges:
            last = torch.tensor([exchange.prefix[-1], *exchange.reply[:-1]], device=self.device)
            reply = torch.tensor(exchange.reply, device=self.device)
            nll.append(nn.functional.cross_entropy(self.table[last], reply, reduction="sum"))
        return mean_loss(torch.stack(nll), batch.reply_lengths)

    def prefill(self, batch: Batch) -> None:
        """Keep nothing: the last word is told at every step."""

    def step(self, state: None, last: Tensor) -> tuple[Tensor, None]:
        """Return log-probabilities of the next word."""
        logits = self.table[last].index_fill(1, torch.tensor(self.suppress_ids, dtype=torch.long), -torch.inf)
        return logits.log_softmax(-1), state

    def reorder_cache(self, state: None, rows: Tensor) -> None:
        """Keep nothing."""


ENTRY = ModelEntry(ToyBigramConfig, ToyBigram, lambda inputs, settings: ToyBigram(settings), "the last word alone")
TOY_BIGRAM = replace(model_over_words(ENTRY), default_method=Finetune(InnerLoop(lr=0.5, epochs=3)))


@dataclass(frozen=True)
class ToyStep:
    """One large step down the support loss."""

    name: ClassVar[str] = "toy-step"
    has_inner_loop: ClassVar[bool] = True
    second_order: ClassVar[bool] = False

    inner: InnerLoop = InnerLoop(lr=2.0)

    def attach(self, model: DialogueModel[Any]) -> None:
        """Need nothing beside the model."""

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the pooled loss."""
        return support_and_query_loss(model, episode, progress)

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], on_step: StepCallback | None = None
    ) -> PersonaWeights:
        """Take the step."""
        start = adaptable_parameters(model)
        leaves = {name: value.detach().clone().requires_grad_() for name, value in start.items()}
        batch = model.batch(tuple(exchange for dialogue in support for exchange in dialogue))
        loss = loss_with(model, leaves, batch).total
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        if on_step:
            on_step(1, 1, float(loss.detach()))
        pairs = zip(leaves.items(), gradients, strict=True)
        return {name: (value - self.inner.lr * gradient).detach() for (name, value), gradient in pairs}
