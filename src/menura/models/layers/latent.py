"""The discrete latent variable: sampling, NLL of the mixture, usage. Shape letters: B exchanges, K latents.

PLATO (Bao et al., 2020), sections 2.3 and 2.4; differences of the public program are noted where they matter.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Sampling = Literal["gumbel_soft", "gumbel_st", "argmax", "sample", "enumerate", "hard_em"]


def gumbel_noise(seeds: Sequence[int], latents: int) -> Tensor:
    """Return (B, K) −log(−log u), each row from its own seed: the noise does not depend on the rest of the batch."""
    rows = [torch.rand(latents, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) for seed in seeds]
    u = torch.stack(rows).clamp(1e-12, 1 - 1e-12)
    return -(-u.log()).log()


def stream_of(seed: int, ids: Sequence[int]) -> int:
    """Return the seed of one exchange's random numbers."""
    return zlib.crc32(f"{seed}:{tuple(ids)}".encode())


def drawn(log_posterior: Tensor, noise: Tensor, how: Sampling, temperature: float) -> Tensor:
    """Return (B, K) weights of the latent embeddings, from log p(z | c, r) (B, K), in its dtype.

    gumbel_soft is a mixture of embeddings (both public programs), gumbel_st one embedding with the mixture's gradient
    (straight-through); argmax and sample are one embedding without a gradient to the posterior. ``sample`` uses the
    same noise (Gumbel-max).
    """
    if how == "argmax":
        return _one_hot(log_posterior)
    perturbed = log_posterior + noise.to(log_posterior)
    if how == "sample":
        return _one_hot(perturbed)
    soft = (perturbed / temperature).softmax(-1)
    if how == "gumbel_soft":
        return soft
    return _one_hot(perturbed) + (soft - soft.detach())  # 0 is added, to the bit


def assigned(latents: Tensor, like: Tensor) -> Tensor:
    """Return (B, K) weights that are 1 at ``latents`` (B,), in the dtype of ``like`` (B, K)."""
    return torch.nn.functional.one_hot(latents, like.shape[-1]).to(like)


def _one_hot(scores: Tensor) -> Tensor:
    return assigned(scores.argmax(-1), scores)


def mixture_nll(nll: Tensor, log_prior: Tensor) -> Tensor:
    """Return (B,) −log Σ_z p(z) p(r | c, z), from NLLs (B, K) and log p(z) (B, K)."""
    return -(log_prior - nll).logsumexp(-1)


@dataclass(frozen=True)
class Health:
    """How much latents are used over N exchanges, in nats: ``information`` lies between 0 and ln K.

    ``usage`` is the entropy of the mean posterior, ``certainty`` the mean entropy of a posterior, ``dead`` how many
    latents are the likeliest of no exchange.
    """

    usage: float
    certainty: float
    dead: int
    latents: int

    @classmethod
    def of(cls, log_posterior: Tensor) -> "Health":
        """Measure log p(z | c, r) (N, K)."""
        mean, each = information_of(log_posterior)
        dead = log_posterior.shape[1] - len(set(log_posterior.argmax(-1).tolist()))
        return cls(float(mean), float(each), dead, log_posterior.shape[1])

    @property
    def information(self) -> float:
        """Mutual information of latent and exchange."""
        return self.usage - self.certainty

    @property
    def said(self) -> str:
        """Return it as one line of text."""
        most = math.log(self.latents)
        return f"latents: information {self.information:.2f} of {most:.2f} nats, {self.dead} of {self.latents} unused"


def information_of(log_posterior: Tensor) -> tuple[Tensor, Tensor]:
    """Return the entropy of the mean posterior and the mean of the entropies, () each; all finite where some p is 0."""
    mean = log_posterior.exp().mean(0)
    # The logarithm of a mean of 0 has no finite gradient; its term is 0.
    log_mean = mean.clamp(min=torch.finfo(mean.dtype).tiny).log()
    return -(mean * log_mean).sum(), -(log_posterior.exp() * log_posterior).nan_to_num().sum(-1).mean()
