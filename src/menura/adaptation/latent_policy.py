"""Policy gradient over latents: the prior is trained on rewards of the replies under them (PLATO, A18).

Shape letters: B exchanges, K latents, S latents drawn of them.
"""

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from menura.adaptation.finetune import AdaptsByInnerLoop, support_and_query_loss
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.rewards import rewards_named
from menura.adaptation.weights import (
    PersonaWeights,
    adaptable_parameters,
    filter_by_name,
    selected_parameters,
    swapped_weights,
)
from menura.batches.encode import EncodedEpisode, EncodedExchange, Ids
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, HasLatents, Loss
from menura.models.layers.latent import gumbel_noise

POLICY = "prior"  # prefix of the parameters of p(z | c), which is the policy
TRAINABLE_PARTS = f"{POLICY},latent"  # what is trained while the generator is frozen
INITIAL = "initial_weights"  # the name of the module


@dataclass(frozen=True)
class LatentPolicy(AdaptsByInnerLoop):
    """Minimise −(R − b) log π(z | c) − ``entropy_bonus`` · H(π) + ``supervised_weight`` · pooled loss; π is the prior.

    Each query exchange is answered greedily under all latents, or ``num_latents`` of them, in at most
    ``max_new_tokens`` tokens. R is the mean of ``rewards`` (names, comma-separated), b (``baseline``) the mean reward
    of the other draws, the mean of the batch, or 0. Support exchanges are for the pooled loss alone.

    The generator is frozen: only the prior and the latents' embeddings get a gradient. With ``train_generator``
    everything is trained, and the objective has a further term of weight ``reference_loss_weight``: the NLL of the
    replies that the initial model gives under the same latents, which approximates the divergence from it.
    """

    name: ClassVar[str] = "latent-policy"
    has_inner_loop: ClassVar[bool] = True

    inner: InnerLoop = field(default_factory=InnerLoop)
    trainable: str = ""  # as in Finetune
    rewards: str = "rs"
    baseline: Literal["leave-one-out", "mean", "none"] = "leave-one-out"
    num_latents: int = 0  # per exchange; 0 = all
    max_new_tokens: int = 24
    entropy_bonus: float = 0.01
    supervised_weight: float = 0.1
    train_generator: bool = False
    reference_loss_weight: float = 1.0

    second_order = False

    def __post_init__(self) -> None:
        """Refuse settings without a reward, or with too few draws for the baseline."""
        rewards_named(self.rewards)
        for name, least in (
            ("num_latents", 0),
            ("max_new_tokens", 1),
            ("entropy_bonus", 0),
            ("supervised_weight", 0),
            ("reference_loss_weight", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"method.{name}: {getattr(self, name)}, must be at least {least}")
        if self.num_latents == 1 and self.baseline == "leave-one-out":
            hint = "--set method.num_latents=2, or --set method.baseline=mean"
            raise ConfigError("method.baseline: leave-one-out needs another draw to compare with", hint=hint)

    def attach(self, model: DialogueModel[Any]) -> None:
        """Add a frozen copy of the initial weights if they are the reference, else only check.

        ConfigError for a model without a learned prior, or if ``trainable`` matches no parameter.
        """
        able = isinstance(model, HasLatents) and model.latents > 1
        if not able or not filter_by_name(adaptable_parameters(model), POLICY):
            latents = "--set model.num_latents=20 --set model.prior=learned"
            raise ConfigError(
                "latent-policy trains the learned prior over two latents or more, which this model does not have",
                hint=latents if isinstance(model, HasLatents) else "--set method=finetune, or --set model=plato",
                code="method_misfit",
            )
        selected_parameters(model, self.trainable)
        if self.train_generator and self.reference_loss_weight:
            model.add_module(INITIAL, InitialWeights(adaptable_parameters(model)))

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the loss; ``nll`` is that of the pooled loss, which is the whole loss of a model without latents.

        The draws depend on ``progress``, the share of training done, 0 to 1. ``parts`` has their mean reward and H(π).
        """
        if not (isinstance(model, HasLatents) and model.latents):
            return support_and_query_loss(model, episode, progress)
        exchanges = [replace(exchange, negatives=()) for exchange in chain.from_iterable(episode.query)]
        played = self._played(model, exchanges, progress)  # first, as it overwrites weights, which a graph forbids
        with _only_trained(model, "" if self.train_generator else TRAINABLE_PARTS):
            with nullcontext() if self.supervised_weight else torch.no_grad():
                supervised = support_and_query_loss(model, episode, progress)
            log_policy = model.latent_prior(model.batch(exchanges))
            objective, uncertainty = self._policy_loss(log_policy, played)
            if played.reference_exchanges:
                objective = objective + self.reference_loss_weight * _nll_a_token(model, played)
        total = objective + self.supervised_weight * supervised.total if self.supervised_weight else objective
        return Loss(
            total,
            supervised.nll,
            supervised.tokens,
            {**supervised.parts, "reward": played.rewards.mean(), "uncertainty": uncertainty.detach()},
        )

    @torch.no_grad()
    def _played(
        self, model: DialogueModel[Any], exchanges: Sequence[EncodedExchange], progress: float
    ) -> "LatentRollouts":
        """Draw latents, generate a reply under each, and compute the rewards."""
        assert isinstance(model, HasLatents)
        seeds = [zlib.crc32(repr((progress, exchange.ids)).encode()) for exchange in exchanges]
        latents, weights = drawn(model.latent_prior(model.batch(exchanges)), seeds, self.num_latents)
        replies = replies_under(model, exchanges, latents, self.max_new_tokens)
        earned = [reward(model, exchanges, replies) for reward in rewards_named(self.rewards).values()]
        reference_exchanges: list[EncodedExchange] = []
        if initial := _initial_weights_of(model) if self.train_generator else {}:
            with swapped_weights(model, initial):
                reference_replies = replies_under(model, exchanges, latents, self.max_new_tokens)
            reference_exchanges = [
                replace(e, reply=reply) for e, own in zip(exchanges, reference_replies, strict=True) for reply in own
            ]
        return LatentRollouts(latents, weights, torch.stack(earned).mean(0), tuple(reference_exchanges))

    def _policy_loss(self, log_policy: Tensor, played: "LatentRollouts") -> tuple[Tensor, Tensor]:
        """Return the policy objective for log π(z | c) (B, K), and the policy's mean entropy."""
        better = played.rewards - self._baseline(played.rewards)
        policy_loss = -(played.importance_weights * better * log_policy.gather(1, played.latents)).sum(1).mean()
        uncertainty = -(log_policy.exp() * log_policy).sum(1).mean()
        return policy_loss - self.entropy_bonus * uncertainty, uncertainty

    def _baseline(self, rewards: Tensor) -> Tensor:
        if self.baseline == "leave-one-out":
            return (rewards.sum(1, keepdim=True) - rewards) / (rewards.shape[1] - 1)
        return rewards.mean() if self.baseline == "mean" else torch.zeros_like(rewards)


@dataclass(frozen=True)
class LatentRollouts:
    """Drawn latents and the rewards of their replies; the ``importance_weights`` of an exchange sum to 1."""

    latents: Tensor  # (B, S)
    importance_weights: Tensor  # (B, S)
    rewards: Tensor  # (B, S)
    reference_exchanges: tuple[EncodedExchange, ...]  # B·S, with the initial model's replies; empty if not needed


class InitialWeights(nn.Module):
    """The initial weights of a model, by name, as buffers that are not saved."""

    def __init__(self, weights: PersonaWeights) -> None:
        super().__init__()
        self.names = tuple(weights)
        for number, value in enumerate(weights.values()):
            self.register_buffer(str(number), value.detach().clone(), persistent=False)

    @property
    def weights(self) -> dict[str, Tensor]:
        """Return the weights by name."""
        return dict(zip(self.names, self.buffers(), strict=True))


def drawn(log_policy: Tensor, seeds: Sequence[int], draws: int) -> tuple[Tensor, Tensor]:
    """Return latents (B, S) drawn from π without replacement, and their weights; ``draws`` 0 returns all of them.

    All latents have the weight π(z), which makes the gradient exact. Drawn ones have π(z) over the probability of being
    among the draws, given the first that is not, normalised (Kool et al., 2019).
    """
    every = log_policy.shape[1]
    if not 0 < draws < every:
        return torch.arange(every, device=log_policy.device).expand(len(log_policy), -1), log_policy.exp()
    perturbed = log_policy.double() + gumbel_noise(seeds, every).to(log_policy.device)
    best = perturbed.topk(draws + 1)
    latents, first_left = best.indices[:, :-1], best.values[:, -1:]
    chosen = log_policy.double().gather(1, latents)
    chances = -torch.expm1(-(chosen - first_left).exp())
    weights = chosen.exp() / chances.clamp(min=1e-12)
    return latents, (weights / weights.sum(1, keepdim=True)).to(log_policy)


@torch.no_grad()
def replies_under(
    model: DialogueModel[Any], exchanges: Sequence[EncodedExchange], latents: Tensor, limit: int
) -> list[list[Ids]]:
    """Return the greedy reply of each exchange under each of its latents (B, S), of at most ``limit`` tokens.

    All are generated in one batch. The end token is that of the references.
    """
    assert isinstance(model, HasLatents)
    batch, end = model.batch([replace(exchange, reply=()) for exchange in exchanges]), exchanges[0].reply[-1]
    acts = torch.tensor(sorted(set(latents.flatten().tolist())), device=latents.device)
    places = torch.arange(len(exchanges), device=latents.device)[:, None] * len(acts)
    state = model.prefill_latents(batch, acts.tolist())
    state = model.reorder_cache(state, (places + torch.searchsorted(acts, latents.contiguous())).flatten())
    last = batch.prefix.ids[:, -1].repeat_interleave(latents.shape[1])
    generated: list[list[int]] = [[] for _ in last]
    alive = list(range(len(generated)))
    for _ in range(limit):
        scores, state = model.step_logits(state, last)
        tokens = scores.argmax(-1).tolist()
        running = [row for row, token in enumerate(tokens) if token != end]
        for row in running:
            generated[alive[row]].append(tokens[row])
        if not running:
            break
        kept = torch.tensor(running, device=last.device)
        state, last, alive = model.reorder_cache(state, kept), scores[kept].argmax(-1), [alive[row] for row in running]
    own = [(*ids, end) for ids in generated]
    return [own[start : start + latents.shape[1]] for start in range(0, len(own), latents.shape[1])]


def _nll_a_token(model: DialogueModel[Any], played: LatentRollouts) -> Tensor:
    """Return the NLL per token of the initial model's replies, each under its latent."""
    assert isinstance(model, HasLatents)
    batch = model.batch(played.reference_exchanges)
    return model.nll_under(batch, played.latents.flatten().tolist()).sum() / batch.reply_lengths.sum()


def _initial_weights_of(model: DialogueModel[Any]) -> PersonaWeights:
    found = getattr(model, INITIAL, None)
    return found.weights if isinstance(found, InitialWeights) else {}


@contextmanager
def _only_trained(model: DialogueModel[Any], parts: str) -> Iterator[None]:
    """Freeze all parameters whose name contains none of ``parts`` while the block runs."""
    trained = filter_by_name(adaptable_parameters(model), parts)
    frozen = [parameter for name, parameter in adaptable_parameters(model).items() if name not in trained]
    for parameter in frozen:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
