"""The contract every model keeps. Shape letters: B exchanges, V vocabulary."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from menura.batches.batch import Batch, SoftTargets
from menura.batches.chat_format import ChatFormat
from menura.batches.encode import EncodedExchange
from menura.batches.padded import PaddedBatch
from menura.errors import ConfigError
from menura.models.layers.latent import mixture_nll

State = TypeVar("State")


@dataclass(frozen=True)
class Loss:
    """Nats per reply token over a batch, with the sums that allow exact pooling.

    ``total`` is what is lowered; it is the mean over all reply tokens, plus whatever ``parts`` names beside it.
    """

    total: Tensor  # ()
    nll: Tensor  # (B,) summed −log p of each reply, end token included
    tokens: Tensor  # (B,) reply tokens, end token included
    parts: Mapping[str, Tensor] = field(default_factory=dict)


def mean_loss(nll: Tensor, tokens: Tensor) -> Loss:
    """Return the plain loss of replies with these summed NLLs (B,) and tokens (B,): the mean over tokens."""
    return Loss(nll.sum() / tokens.sum(), nll, tokens)


def softened_by(loss: Loss, soft_targets: SoftTargets | None, softened: Sequence[Tensor]) -> Loss:
    """Return a loss held to what was expected; ``softened`` are sums of nats against those distributions.

    Its nats stay those of the words. The loss is the cross-entropy to targets that are a mixture of word and
    expectation (Reed et al., 2015, soft bootstrapping), up to a constant a KL divergence from the start.
    """
    if soft_targets is None:
        return loss
    soft = torch.stack(list(softened)).sum() / loss.tokens.sum()
    return replace(loss, total=(1 - soft_targets.share) * loss.total + soft_targets.share * soft)


class DialogueModel(nn.Module, ABC, Generic[State]):
    """What a model must do to be trained, adapted, decoded and scored; the only inheritance in the house."""

    @abstractmethod
    def loss(self, batch: Batch) -> Loss:
        """Return the loss of the batch's replies; rows, padding and batch mates change no exchange's nats."""

    @abstractmethod
    def prefill(self, batch: Batch) -> State:
        """Read facts and context, never the reply."""

    @abstractmethod
    def step(self, state: State, last: Tensor) -> tuple[Tensor, State]:
        """Read one more token a row, ``last`` (B,); return log-probabilities (B, V) of the next and the new state.

        The state given is used up: it must not be advanced a second time.
        """

    def prefill_logits(self, batch: Batch) -> tuple[Tensor, State]:
        """Do ``begin`` and the first ``advance_to_scores``, which reads the end of each prefix, at once."""
        return self.step_logits(self.prefill(batch), batch.prefix.ids[:, -1])

    def step_logits(self, state: State, last: Tensor) -> tuple[Tensor, State]:
        """Do what ``advance`` does, but return log-probabilities up to a constant a row, where these are cheaper."""
        return self.step(state, last)

    @abstractmethod
    def reorder_cache(self, state: State, rows: Tensor) -> State:
        """Return the state of the rows named by ``rows`` (B',), in that order, repeats allowed."""

    def forward(self, batch: Batch) -> Loss:
        """Return ``loss(batch)``, so that ``torch.func.functional_call`` finds it."""
        return self.loss(batch)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def batch(self, exchanges: Sequence[EncodedExchange]) -> Batch:
        """Put encoded exchanges where the weights are."""
        return Batch(tuple(exchanges), self.device)


@runtime_checkable
class RanksReplies(Protocol):
    """A model that can score many replies to one context at less than their single price."""

    def reply_nll(self, batch: Batch, prefilled: Any = None) -> Tensor:
        """Return (B,) −log p of each reply, as ``loss`` does, reading a context that exchanges share once.

        ``begun`` is the one-row state of a context common to all, where it has been read already.
        """


@runtime_checkable
class HasStepArgmax(Protocol):
    """A model that can find the likeliest next token at less than all tokens' price."""

    def step_argmax(self, state: Any, last: Tensor) -> tuple[Tensor, Any]:
        """Do ``advance``; return (B,) tokens whose scores are the largest, of equals the first, and the new state."""


@runtime_checkable
class HasFrozenLower(Protocol):
    """A model whose lower layers never change and whose output there can be kept."""

    def forget_lower(self) -> None:
        """Drop what is kept."""


@runtime_checkable
class HasPaddedForward(Protocol):
    """A model whose ``loss`` can be computed from tensors alone, and so be compiled for all batches at once."""

    def check_padded(self) -> None:
        """Raise ConfigError where this one's cannot."""

    def padded(self, batch: Batch) -> PaddedBatch:
        """Return a batch that ``loss`` reads no id of; the loss then has a number a label, not an exchange."""


@runtime_checkable
class HasPrivatePart(Protocol):
    """A model with a multi-layer perceptron that is private to a persona: of its weights, a persona may keep a few.

    Which ones, the model is never told: those a persona does not keep are given to it as 0.
    """

    def private_layers(self) -> tuple[tuple[str, str], ...]:
        """Return the names of weight (above, below) and bias of each private layer, the lowest first."""


@runtime_checkable
class SelfDistills(Protocol):
    """A model that can be held to what it said before it adapted, while it adapts."""

    def with_soft_targets(self, batch: Batch, share: float) -> Batch:
        """Return the batch with what the model now says at each label; of its loss that makes up ``share``."""


@runtime_checkable
class HasDropout(Protocol):
    """A model that can leave out a share of its units while it is trained on pooled dialogues."""

    def dropout(self, seed: int, progress: float = 1.0) -> AbstractContextManager[None]:
        """Leave units out while the block runs, drawn from ``seed``; no other randomness is touched.

        ``progress`` is the share (0 to 1) of training that is done.
        """


@runtime_checkable
class TrainsAlternately(HasDropout, Protocol):
    """A model of which some networks work against others: on each batch they are trained one after the other.

    What is drawn is drawn from ``seed``. Each loss has a gradient for the networks whose turn it is, and for no others.
    """

    def reconstruction(self, batch: Batch, seed: int) -> Loss:
        """Return the loss of replies that the model has seen through what stands for them."""

    def lowered(self, turn: Literal["generator", "critic"], batch: Batch, seed: int) -> Loss:
        """Return what those lower that generate, or what the critic lowers that judges them."""


@runtime_checkable
class HasNegatives(Protocol):
    """A model whose loss also reads what other personas said, where an exchange carries ``rivals``.

    ``rivals`` is how many an exchange should have (0: none are wanted), ``choices`` how many exchanges of an episode.
    """

    num_negatives: int
    num_choice_exchanges: int


@runtime_checkable
class ChoosesReplies(Protocol):
    """A model with a head that tells the persona's reply from others'; ``chooses`` is False where it was left out."""

    @property
    def chooses(self) -> bool:
        """Tell whether the head is there."""

    def reply_scores(self, batch: Batch, prefilled: Any = None) -> Tensor:
        """Return (B,) the head's score of each reply, the higher the likelier; ``begun`` as in ``reply_nats``."""


@dataclass(frozen=True)
class LatentNll:
    """What each of K latents gives each reply, and what speaks for each latent, in nats."""

    nll: Tensor  # (B, K) −log p(r | c, z)
    log_prior: Tensor  # (B, K) log p(z | c)
    log_posterior: Tensor  # (B, K) log p(z | c, r)

    @property
    def mixture(self) -> Tensor:
        """(B,) −log Σ_z p(z | c) p(r | c, z): all that a model without latents can be compared by."""
        return mixture_nll(self.nll, self.log_prior)

    @property
    def best(self) -> Tensor:
        """(B,) under the best latent, which was chosen by looking at the reply."""
        return self.nll.min(-1).values

    @property
    def posterior(self) -> Tensor:
        """(B,) under the latent that recognition, which reads the reply, thinks the likeliest."""
        return self.nll.gather(1, self.log_posterior.argmax(-1, keepdim=True)).squeeze(1)


@runtime_checkable
class HasLatents(Protocol):
    """A model that replies in one of several ways, a latent act each; ``latents`` 0: it was built without."""

    latents: int

    @property
    def shares_context(self) -> bool:
        """Whether what is read of a context serves all latents."""

    def prefill_latents(self, batch: Batch, latents: Sequence[int], *, shared: bool | None = None) -> Any:
        """Read as ``begin`` does, a row for each exchange and latent, those of an exchange side by side.

        ``shared``: whether latents share what was read (None: where the model can); ConfigError where it cannot.
        """

    def latent_nll(self, batch: Batch) -> LatentNll:
        """Return what each latent gives each reply."""

    def nll_under(self, batch: Batch, latents: Sequence[int]) -> Tensor:
        """Return (B,) −log p of each reply, each under a latent of its own."""

    def latent_prior(self, batch: Batch) -> Tensor:
        """Return log p(z | c) (B, K)."""


@runtime_checkable
class RewardsReplies(Protocol):
    """A model that can be rewarded for what it said; ``limit`` bounds its sequences."""

    max_length: int

    @property
    def chat_format(self) -> ChatFormat:
        """What stands around the turns it reads."""

    def rewards(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return by name (B,) rewards in 0..1 of each reply, judged against its exchange's ``rivals``."""


@runtime_checkable
class HasStrength(Protocol):
    """A model that reads its persona apart from the context, and can be told how much the persona weighs."""

    @property
    def weighs_persona(self) -> bool:
        """Whether there is a stream of the persona's to weigh; False where it was left out."""

    def at_strength(self, strength: float | None) -> AbstractContextManager[None]:
        """Weigh every persona by ``strength`` (0..1) while the block runs (None: as the model has it)."""


@runtime_checkable
class HasAuxiliaryTask(Protocol):
    """A model that learns a second task beside its replies (Eq. 3 of AR)."""

    @property
    def has_second_task(self) -> bool:
        """Whether there is one; False where it was left out."""

    def auxiliary_nll(self, batch: Batch, seed: int) -> tuple[Tensor, Tensor]:
        """Return (B,) nats in the second task and (B,) tokens that it says; what is lost is drawn from ``seed``."""


@runtime_checkable
class StandsOnBase(Protocol):
    """A model that is a base and something added, and can be that base alone."""

    def neutral_weights(self) -> dict[str, Tensor]:
        """Return weights under which the model is its base."""


def neutral_weights(model: DialogueModel[Any]) -> dict[str, Tensor]:
    """Return weights under which a model is its base; none where it stands on no base."""
    return model.neutral_weights() if isinstance(model, StandsOnBase) else {}


def check_share(strength: float | None) -> None:
    """Raise ConfigError for a strength outside 0..1; None is no strength."""
    if strength is not None and not 0 <= strength <= 1:
        raise ConfigError(f"strength: {strength}, must be between 0 and 1")


def check_strength(model: DialogueModel[Any], strength: float | None) -> None:
    """Raise ConfigError for a strength outside 0..1, or of a model that has no persona to weigh; None is none."""
    check_share(strength)
    if strength is not None and not (isinstance(model, HasStrength) and model.weighs_persona):
        hint = "train arplus/strength, or any arplus/… with --set model.persona_path=memory_stream"
        raise ConfigError("strength: this model has no stream of the persona's to weigh", hint=hint)


def weighing(model: DialogueModel[Any], strength: float | None) -> AbstractContextManager[None]:
    """Let every persona weigh ``strength`` while the block runs, None as the model has it; raises as the check does."""
    check_strength(model, strength)
    return model.at_strength(strength) if isinstance(model, HasStrength) else nullcontext()


def nll_of(model: DialogueModel[Any], batch: Batch, prefilled: Any = None) -> Tensor:
    """Return (B,) −log p of each reply, at the least price the model offers; ``begun`` as in ``reply_nats``."""
    return model.reply_nll(batch, prefilled) if isinstance(model, RanksReplies) else model.loss(batch).nll
