"""The contract that every model fulfils. Shape letters: B exchanges, V vocabulary."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from menura.batches.batch import Batch, SoftTargets
from menura.batches.chat_format import ChatFormat
from menura.batches.encode import EncodedExchange, Ids
from menura.batches.padded import PaddedBatch
from menura.errors import ConfigError
from menura.models.layers.latent import mixture_nll
from menura.models.layers.neural_cache import NeuralCache

State = TypeVar("State")


@dataclass(frozen=True)
class Loss:
    """The loss of a batch of replies, with the sums from which batches can be pooled exactly.

    ``total`` is the objective to minimise: the mean NLL per reply token (nats), plus the terms that ``parts`` names.
    """

    total: Tensor  # ()
    nll: Tensor  # (B,) summed −log p of each reply, end token included
    tokens: Tensor  # (B,) reply tokens, end token included
    parts: Mapping[str, Tensor] = field(default_factory=dict)


def mean_loss(nll: Tensor, tokens: Tensor) -> Loss:
    """Return the loss of replies with these summed NLLs (B,) and token counts (B,): the mean over all tokens."""
    return Loss(nll.sum() / tokens.sum(), nll, tokens)


def softened_by(loss: Loss, soft_targets: SoftTargets | None, softened: Sequence[Tensor]) -> Loss:
    """Return a loss with a share of soft targets; ``softened`` are summed cross-entropies against these distributions.

    ``nll`` stays that of the tokens themselves. ``total`` is the cross-entropy to a mixture of token and soft target
    (Reed et al., 2015, soft bootstrapping); the soft part is, up to a constant, a KL divergence from the initial model.
    """
    if soft_targets is None:
        return loss
    soft = torch.stack(list(softened)).sum() / loss.tokens.sum()
    return replace(loss, total=(1 - soft_targets.share) * loss.total + soft_targets.share * soft)


class DialogueModel(nn.Module, ABC, Generic[State]):
    """What a model must do to be trained, adapted, decoded and scored; the only base class in this code."""

    @abstractmethod
    def loss(self, batch: Batch) -> Loss:
        """Return the loss of the batch's replies; no exchange's NLL depends on padding or on the other rows."""

    @abstractmethod
    def prefill(self, batch: Batch) -> State:
        """Read facts and context, never the reply; return the cache to decode from."""

    @abstractmethod
    def step(self, state: State, last: Tensor) -> tuple[Tensor, State]:
        """Read one more token per row, ``last`` (B,); return log-probabilities (B, V) of the next and the new state.

        The old state is consumed: do not step from it a second time.
        """

    def prefill_logits(self, batch: Batch) -> tuple[Tensor, State]:
        """Do ``prefill`` and the first ``step_logits``, which reads the last token of each prefix, in one pass."""
        return self.step_logits(self.prefill(batch), batch.prefix.ids[:, -1])

    def step_logits(self, state: State, last: Tensor) -> tuple[Tensor, State]:
        """Do what ``step`` does, but return logits: log-probabilities up to a constant per row, often cheaper."""
        return self.step(state, last)

    @abstractmethod
    def reorder_cache(self, state: State, rows: Tensor) -> State:
        """Return the state of the rows with indices ``rows`` (B',), in that order; repeats are allowed."""

    def forward(self, batch: Batch) -> Loss:
        """Return ``loss(batch)``, so that ``torch.func.functional_call`` finds it."""
        return self.loss(batch)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def batch(self, exchanges: Sequence[EncodedExchange]) -> Batch:
        """Return encoded exchanges as a batch on the device of the weights."""
        return Batch(tuple(exchanges), self.device)


@runtime_checkable
class RanksReplies(Protocol):
    """A model that scores many replies to one context for less than scoring each alone."""

    def reply_nll(self, batch: Batch, prefilled: Any = None) -> Tensor:
        """Return (B,) −log p of each reply, as ``loss`` does; a context that exchanges share is read once.

        ``prefilled`` is the one-row state of a context that all exchanges share, if it was read before.
        """


@runtime_checkable
class HasNeuralCache(Protocol):
    """A model whose distribution can be mixed with a cache of what a person said in like states."""

    def reply_states(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return (N, D) the last hidden state before each token of the replies, (N,) these tokens, their exchanges."""

    def using_cache(self, cache: NeuralCache | None) -> AbstractContextManager[None]:
        """Mix a cache into every distribution while the block runs; with None, none is."""


@runtime_checkable
class HasLineStates(Protocol):
    """A model that knows what a line is about, whoever says it: by hidden states that no persona changes."""

    def line_states(self, lines: Sequence[Ids]) -> Tensor:
        """Return (N, D) the mean hidden state of each line, the same alone as among others."""


@runtime_checkable
class HasStepArgmax(Protocol):
    """A model that finds the likeliest next token without scoring the whole vocabulary."""

    def step_argmax(self, state: Any, last: Tensor) -> tuple[Tensor, Any]:
        """Do ``step``; return (B,) the tokens with the largest logits (of equals the first), and the new state."""


@runtime_checkable
class HasFrozenLower(Protocol):
    """A model whose frozen lower layers never change, so that their output can be cached."""

    def forget_lower(self) -> None:
        """Empty that cache."""


@runtime_checkable
class HasPaddedForward(Protocol):
    """A model whose ``loss`` can be computed from padded tensors alone, and so compiled once for all batches."""

    def check_padded(self) -> None:
        """Raise ConfigError if this model's loss cannot."""

    def padded(self, batch: Batch) -> PaddedBatch:
        """Return the batch as tensors; its loss then has one NLL per label, not per exchange."""


@runtime_checkable
class HasPrivatePart(Protocol):
    """A model with a multi-layer perceptron of which a persona may keep only some weights (its persona mask).

    The model does not know the mask: the weights that a persona does not keep are set to 0 from outside.
    """

    def private_layers(self) -> tuple[tuple[str, str], ...]:
        """Return the names of weight (out_units, in_units) and bias of each private layer, the lowest first."""


@runtime_checkable
class SelfDistills(Protocol):
    """A model that can be distilled from its own predictions before adaptation, while it adapts."""

    def with_soft_targets(self, batch: Batch, share: float) -> Batch:
        """Return the batch with the model's present distribution at each label as a target of weight ``share``."""


@runtime_checkable
class HasLossParts(Protocol):
    """A model whose loss of a batch is a sum, so that its gradient takes the memory of one part at a time."""

    def parts(self, batch: Batch) -> Sequence[Batch]:
        """Return batches whose losses' totals have the total of ``batch`` as their sum."""


@runtime_checkable
class HasDropout(Protocol):
    """A model with dropout, which is active only while it is trained on pooled dialogues."""

    def dropout(self, seed: int, progress: float = 1.0) -> AbstractContextManager[None]:
        """Turn dropout on while the block runs, seeded by ``seed``; no other randomness is touched.

        ``progress`` is the share of training done, 0 to 1.
        """


@runtime_checkable
class TrainsAlternately(HasDropout, Protocol):
    """A model with adversarial networks: on each batch they are trained one after the other.

    Samples are drawn from ``seed``. Each loss has a gradient for the networks whose turn it is, and for no others.
    """

    def reconstruction(self, batch: Batch, seed: int) -> Loss:
        """Return the loss of replies decoded from their own latent variable."""

    def adversarial_loss(self, turn: Literal["generator", "critic"], batch: Batch, seed: int) -> Loss:
        """Return the objective of the generators, or that of the critic."""


@runtime_checkable
class HasNegatives(Protocol):
    """A model whose loss also reads replies of other personas, where an exchange has ``negatives``.

    ``num_negatives`` is how many an exchange should have (0: none), ``num_choice_exchanges`` how many exchanges of an
    episode get them.
    """

    num_negatives: int
    num_choice_exchanges: int


@runtime_checkable
class FitsReplies(Protocol):
    """A model that looks at all training replies before the first step."""

    def fit_replies(self, replies: Sequence[tuple[int, ...]], seed: int) -> None:
        """Look at the replies, under the weights that training begins with; the same at each call."""


@runtime_checkable
class ChoosesReplies(Protocol):
    """A model with a head for next-utterance classification; ``chooses`` is False if it was built without the head."""

    @property
    def chooses(self) -> bool:
        """Whether the model has the head."""

    def reply_scores(self, batch: Batch, prefilled: Any = None) -> Tensor:
        """Return (B,) the head's score of each reply, the higher the likelier; ``prefilled`` as in ``reply_nll``."""


@dataclass(frozen=True)
class LatentNll:
    """The NLL of each reply under each of K latents, and the latents' prior and posterior, in nats."""

    nll: Tensor  # (B, K) −log p(r | c, z)
    log_prior: Tensor  # (B, K) log p(z | c)
    log_posterior: Tensor  # (B, K) log p(z | c, r)

    @property
    def mixture(self) -> Tensor:
        """(B,) −log Σ_z p(z | c) p(r | c, z): the only one that can be compared with a model without latents."""
        return mixture_nll(self.nll, self.log_prior)

    @property
    def best(self) -> Tensor:
        """(B,) under the best latent, an oracle: it was chosen by looking at the reply."""
        return self.nll.min(-1).values

    @property
    def posterior(self) -> Tensor:
        """(B,) under the likeliest latent of the posterior, which reads the reply."""
        return self.nll.gather(1, self.log_posterior.argmax(-1, keepdim=True)).squeeze(1)


@runtime_checkable
class HasLatents(Protocol):
    """A model with a discrete latent variable of ``latents`` values; 0 if it was built without one."""

    latents: int

    @property
    def shares_context(self) -> bool:
        """Whether one prefill of a context serves all latents."""

    def prefill_latents(self, batch: Batch, latents: Sequence[int], *, shared: bool | None = None) -> Any:
        """Do ``prefill`` with one row per exchange and latent, the rows of an exchange next to each other.

        ``shared``: whether latents share the context's cache (None: if the model can); ConfigError if it cannot.
        """

    def latent_nll(self, batch: Batch) -> LatentNll:
        """Return each reply's NLL under each latent."""

    def nll_under(self, batch: Batch, latents: Sequence[int]) -> Tensor:
        """Return (B,) −log p of each reply, reply b under ``latents[b]``."""

    def latent_prior(self, batch: Batch) -> Tensor:
        """Return log p(z | c) (B, K)."""


@runtime_checkable
class RewardsReplies(Protocol):
    """A model that scores replies with rewards for self-play; ``max_length`` bounds its sequences."""

    max_length: int

    @property
    def chat_format(self) -> ChatFormat:
        """The chat format of the model's input."""

    def rewards(self, batch: Batch) -> Mapping[str, Tensor]:
        """Return by name (B,) rewards in 0..1 of each reply, compared with its exchange's ``negatives``."""


@runtime_checkable
class HasStrength(Protocol):
    """A model that attends to persona and context separately, and whose persona weight can be set."""

    @property
    def weighs_persona(self) -> bool:
        """Whether the model has a persona stream; False if it was built without one."""

    def at_strength(self, strength: float | None) -> AbstractContextManager[None]:
        """Set every persona's weight to ``strength`` (0..1) while the block runs (None: the model's own)."""


@runtime_checkable
class HasAuxiliaryTask(Protocol):
    """A model with an auxiliary training task (Eq. 3 of AR)."""

    @property
    def has_second_task(self) -> bool:
        """Whether the model has the task; False if it was built without it."""

    def auxiliary_nll(self, batch: Batch, seed: int) -> tuple[Tensor, Tensor]:
        """Return (B,) the NLL of the auxiliary task and (B,) its tokens; the masked spans are drawn from ``seed``."""


@runtime_checkable
class StandsOnBase(Protocol):
    """A model that adds modules to a base model, and can compute as that base alone."""

    def neutral_weights(self) -> dict[str, Tensor]:
        """Return weights under which the model computes what its base does."""


def neutral_weights(model: DialogueModel[Any]) -> dict[str, Tensor]:
    """Return weights under which a model computes what its base does; empty for a model without a base."""
    return model.neutral_weights() if isinstance(model, StandsOnBase) else {}


def check_share(strength: float | None) -> None:
    """Raise ConfigError for a strength outside 0..1; None passes."""
    if strength is not None and not 0 <= strength <= 1:
        raise ConfigError(f"strength: {strength}, must be between 0 and 1")


def check_strength(model: DialogueModel[Any], strength: float | None) -> None:
    """Raise ConfigError for a strength outside 0..1, or a model without a persona stream; None passes."""
    check_share(strength)
    if strength is not None and not (isinstance(model, HasStrength) and model.weighs_persona):
        hint = "train arplus/strength, or any arplus/… with --set model.persona_path=memory_stream"
        raise ConfigError("strength: this model has no stream of the persona's to weigh", hint=hint)


def weighing(model: DialogueModel[Any], strength: float | None) -> AbstractContextManager[None]:
    """Set every persona's weight while the block runs (None: the model's own); raises as ``check_strength`` does."""
    check_strength(model, strength)
    return model.at_strength(strength) if isinstance(model, HasStrength) else nullcontext()


def check_caches(model: DialogueModel[Any]) -> None:
    """Raise ConfigError for a model whose distribution takes no cache."""
    if not isinstance(model, HasNeuralCache):
        raise ConfigError(f"{type(model).__name__} takes no cache of a person's words", hint="leave the cache out")


def caching(model: DialogueModel[Any], cache: NeuralCache | None) -> AbstractContextManager[None]:
    """Mix a cache into every distribution while the block runs (None: none is); raises as ``check_caches`` does."""
    if cache is None and not isinstance(model, HasNeuralCache):
        return nullcontext()
    check_caches(model)
    assert isinstance(model, HasNeuralCache)
    return model.using_cache(cache)


def nll_of(model: DialogueModel[Any], batch: Batch, prefilled: Any = None) -> Tensor:
    """Return (B,) −log p of each reply, the cheapest way the model offers; ``prefilled`` as in ``reply_nll``."""
    return model.reply_nll(batch, prefilled) if isinstance(model, RanksReplies) else model.loss(batch).nll
