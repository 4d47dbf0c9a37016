"""An implicit latent-variable model of dialogue, iVAE with mutual information (Fang et al., 2019; spec C3).

What stands between a context and its reply is a sample, not the parameters of a distribution: noise about a mean, drawn
with a learnt spread, goes through a network. Where the prior's network has the context alone, the posterior's has the
reply too. KL(posterior || prior) is estimated in its dual form by a third network, the critic, that never sees the
reply: what is held down is the KL of the posterior averaged over replies, so the latent variable may tell them apart.

Beside the published program: no batch normalisation (batch mates would change a loss), a decoder that is an LSTM,
exp that is a straight line where it is large, one optimiser (AdamW) for all three turns in place of SGD and RMSprop.

Shape letters: B exchanges, N samples, U turns that differ, Z latent size, H size, V vocabulary.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from menura.batches.batch import Batch
from menura.batches.encode import Ids
from menura.batches.time_major import TimeMajor
from menura.batches.utterances import Utterances
from menura.errors import ConfigError
from menura.models.dialogue_model import Loss, mean_loss
from menura.models.recurrent.gru import Gru
from menura.models.recurrent.seq2seq import Seq2SeqConfig
from menura.models.recurrent.word_decoder import DecoderState, WordDecoder, WordDecoderModel, ends

STRAIGHT = 3.0  # from here on exp goes on as a straight line, so that one sample of the prior cannot drown all others


@dataclass(frozen=True)
class IvaeMiConfig(Seq2SeqConfig):
    """A seq2seq's settings (``layers`` are those of each encoder) and the size of the latent variable.

    Replies are judged, and said, by the mixture over ``samples`` of the prior.
    """

    name: ClassVar[str] = "ivae_mi"

    num_layers: int = 1
    latent_size: int = 200
    num_samples: int = 10

    def __post_init__(self) -> None:
        """Refuse a latent variable without a value."""
        super().__post_init__()
        for name in ("latent_size", "num_samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"model.{name}: {getattr(self, name)}, must be at least 1")


@dataclass(frozen=True)
class IvaeMiState:
    """A decoder for each sample, (B N, ·), and (B, N) the logarithm of each sample's share in what was said so far.

    ``normaliser`` (B, N) is what made logits of the next word log-probabilities; None where nothing was read yet.
    """

    decoders: DecoderState
    weights: Tensor
    normaliser: Tensor | None = None


class IvaeMi(WordDecoderModel[IvaeMiState]):
    """Judged by p(r | c) = 1/N Σ p(r | c, z_n), exact over N samples of the prior that the context's ids seed.

    Over all samples that could be drawn it is a bound, as in importance-weighted estimates from the prior.
    """

    def __init__(self, config: IvaeMiConfig) -> None:
        size, latent = config.hidden_size, config.latent_size
        super().__init__(WordDecoder(config.vocab_size, size, 0))
        self.forwards = Gru(size, size, config.num_layers, config.dropout)
        self.backwards = Gru(size, size, config.num_layers, config.dropout)
        self.context = Gru(2 * size + 2, size, config.num_layers, config.dropout)
        self.prior = Sampler(size, latent, size)
        self.posterior = Sampler(3 * size, latent, size)
        self.critic = Critic(latent + size, size)
        self.bridge = nn.Linear(latent + size, size)
        self._latent, self._samples = latent, config.num_samples

    # Judging and saying, by the mixture

    def loss(self, batch: Batch) -> Loss:
        """Return the loss of the replies under the mixture; samples are decoded one after the other."""
        context = self._context(batch)
        drawn = self.prior(context[:, None], self._prior_noise(batch))  # (B, N, Z)
        nll = [self.decoder.nll(self._opened(drawn[:, n], context), batch) for n in range(self._samples)]
        mixed = math.log(self._samples) - torch.stack(nll, 1).neg().logsumexp(1)
        return mean_loss(mixed, batch.reply_tokens)

    def prefill(self, batch: Batch) -> IvaeMiState:
        """Read the context and draw from the prior; facts, which the published model has none of, are not read."""
        context = self._context(batch)
        drawn = self.prior(context[:, None], self._prior_noise(batch))
        opened = self._opened(drawn.flatten(0, 1), context.repeat_interleave(self._samples, 0))
        return IvaeMiState(opened, context.new_zeros((len(batch), self._samples)))

    def step(self, state: IvaeMiState, last: Tensor) -> tuple[Tensor, IvaeMiState]:
        """Say ``last`` (B,), which makes the samples likelier under which it was likely; return log-probabilities."""
        weights, last = state.weights, last.repeat_interleave(self._samples)
        if state.normaliser is not None:
            words, bias = self.decoder.embedding(last), self.decoder.bias[last]
            said = ((state.decoders.hidden * words).sum(-1) + bias).view(weights.shape)
            weights = weights + said - state.normaliser
        decoders = self.decoder.step(state.decoders, last)
        logits = self.decoder.logits(decoders.hidden).view(*weights.shape, -1)  # (B, N, V)
        normaliser = logits.logsumexp(-1)
        shares = weights.log_softmax(-1) - normaliser
        return (logits + shares[..., None]).logsumexp(1), IvaeMiState(decoders, weights, normaliser)

    def reorder_cache(self, state: IvaeMiState, rows: Tensor) -> IvaeMiState:
        """Return the state of some rows, all their samples with them."""
        samples = (rows[:, None] * self._samples + torch.arange(self._samples, device=rows.device)).flatten()
        normaliser = None if state.normaliser is None else state.normaliser[rows]
        return IvaeMiState(state.decoders.rows(samples), state.weights[rows], normaliser)

    # Learning, in turns

    def reconstruction(self, batch: Batch, seed: int) -> Loss:
        """Return the loss of the replies, each from one sample of its posterior; prior and critic have no part in it.

        Its nats are those of the reconstruction alone, less than those of the replies.
        """
        context = self._context(batch)
        drawn = self.posterior(self._with_reply(batch, context), self._noise(batch, seed))
        return mean_loss(self.decoder.nll(self._opened(drawn, context), batch), batch.reply_tokens)

    def lowered(self, turn: Literal["generator", "critic"], batch: Batch, seed: int) -> Loss:
        """Return what a turn lowers, in nats a reply token: the generators the dual estimate, the critic its negative.

        A turn's gradient reaches its own networks alone; contexts and replies are taken as they are read.
        """
        with torch.no_grad():
            context = self._context(batch)
            both = self._with_reply(batch, context)
        with torch.set_grad_enabled(turn == "generator"):
            ours, theirs = self._noise(batch, seed), self._noise(batch, seed + 1)
            drawn, prior_sample = self.posterior(both, ours), self.prior(context, theirs)
        if turn == "generator":
            nll = dual(self._steady(drawn, context), self._steady(prior_sample, context))
        else:
            nll = dual(self.critic(drawn, context), self.critic(prior_sample, context))
        sign = 1 if turn == "generator" else -1
        total = sign * nll.sum() / batch.reply_tokens.sum()
        return Loss(total, nll.detach(), batch.reply_tokens, {f"kl_{turn}": nll.detach().mean()})

    def _steady(self, latent: Tensor, context: Tensor) -> Tensor:
        """Ask the critic, whose weights are constants here."""
        weights = {name: value.detach() for name, value in self.critic.named_parameters()}
        asked: Tensor = torch.func.functional_call(self.critic, weights, (latent, context))
        return asked

    # What is read

    def _context(self, batch: Batch) -> Tensor:
        """Return (B, H) where the encoder of turns ends; each turn comes with a flag of two numbers, by whom."""
        turned = Utterances.of(batch.exchanges, self.device)
        said = self._read(turned.words, turned.backwards)  # (U, 2 H)
        flag = nn.functional.one_hot(turned.own.long(), 2).to(said.dtype)
        every = turned.all
        return ends(self.context(torch.cat([said, flag], -1)[every.block]), every)

    def _with_reply(self, batch: Batch, context: Tensor) -> Tensor:
        """Return (B, 3 H) replies, their end tokens apart, beside their contexts."""
        replies = [e.reply[:-1] for e in batch.exchanges]
        orders = (replies, [reply[::-1] for reply in replies])
        read = self._read(*(TimeMajor.of(words, self.device, shared=True) for words in orders))
        return torch.cat([read, context], -1)

    def _read(self, words: TimeMajor, backwards: TimeMajor) -> Tensor:
        """Return (·, 2 H) where both directions end."""
        pairs = ((self.forwards, words), (self.backwards, backwards))
        return torch.cat([ends(gru(self.decoder.embedding(timed.block)), timed) for gru, timed in pairs], -1)

    def _opened(self, latent: Tensor, context: Tensor) -> DecoderState:
        """Let decoders begin from (·, Z) and (·, H)."""
        hidden = self.bridge(torch.cat([latent, context], -1)).tanh()
        return DecoderState(hidden, torch.zeros_like(hidden), hidden[:, :0])

    def _prior_noise(self, batch: Batch) -> Tensor:
        """Return (B, N, Z), of each row's own stream, which what it reads seeds."""
        noise = [_normal((e.prefix,), (self._samples, self._latent)) for e in batch.exchanges]
        return torch.stack(noise).to(self.device, self.dtype)

    def _noise(self, batch: Batch, seed: int) -> Tensor:
        """Return (B, Z), of streams that exchange and ``seed`` seed."""
        noise = [_normal((e.ids, (seed,)), (self._latent,)) for e in batch.exchanges]
        return torch.stack(noise).to(self.device, self.dtype)


class Sampler(nn.Module):
    """Noise about a mean, with a spread, both of what was read, through a perceptron of three layers."""

    def __init__(self, given: int, latent: int, size: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(nn.Linear(given, size), nn.Tanh(), nn.Linear(size, latent))
        self.log_spread = nn.Sequential(nn.Linear(given, size), nn.Tanh(), nn.Linear(size, latent))
        self.generator = _perceptron((latent, latent, latent, latent))

    def forward(self, given: Tensor, noise: Tensor) -> Tensor:
        """Return a sample (…, Z) for each noise (…, Z)."""
        drawn: Tensor = self.generator(self.mean(given) + self.log_spread(given).exp() * noise)
        return drawn


class Critic(nn.Module):
    """ν(z, c): a number for a latent value and a context, high where the posterior is likelier there."""

    def __init__(self, given: int, size: int) -> None:
        super().__init__()
        self.layers = _perceptron((given, size, size, 1))

    def forward(self, latent: Tensor, context: Tensor) -> Tensor:
        """Return (…) from (…, Z) and (…, H)."""
        told: Tensor = self.layers(torch.cat([latent, context], -1))[..., 0]
        return told


def dual(drawn: Tensor, prior_sample: Tensor) -> Tensor:
    """Return a KL divergence's dual estimate, E_q ν − E_p exp ν + 1, by sample; its greatest value over ν is the KL.

    ``drawn`` is what the critic says of samples of q, ``expected`` of those of p (Nguyen et al., 2010). Exact where no
    critic is above ``STRAIGHT`` on p; beyond, its samples there count for less than they should.
    """
    return drawn - prior_sample.clamp(max=STRAIGHT).exp() * (1 + (prior_sample - STRAIGHT).clamp(min=0)) + 1


def _perceptron(sizes: Sequence[int]) -> nn.Sequential:
    """Return linear maps with ReLU between them."""
    layers: list[nn.Module] = []
    for below, above in pairwise(sizes):
        layers += [nn.Linear(below, above), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _normal(ids: tuple[Ids, ...], shape: tuple[int, ...]) -> Tensor:
    """Return normal numbers of the stream that ids seed."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(repr(ids).encode())))
