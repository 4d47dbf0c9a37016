"""Whether a discrete latent is used: its mutual information with the references."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menura.metrics.score import Sample


@dataclass(frozen=True)
class LatentInformation:
    """Mutual information of latent and exchange by the posterior p(z | c, r) of the references, in nats.

    It is the entropy of the mean posterior less the mean entropy: 0 if the posterior is the same for all, at most ln K.
    It says what recognition tells apart, not that replies differ: read it beside ``ppl-best``.
    """

    name: str = "latent-information"
    unit: str = "nats"
    better: Literal["higher"] = "higher"

    @property
    def signature(self) -> str:
        """Names what the posterior is of."""
        return f"{self.name}|posterior:of the references"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, ...]:
        """Return (samples with a posterior, the sum of their entropies, the summed posteriors …)."""
        posteriors = [[math.exp(value) for value in s.log_posterior] for s in samples if s.log_posterior]
        entropies = (-p * math.log(p) for posterior in posteriors for p in posterior if p > 0)
        sums = [math.fsum(column) for column in zip(*posteriors, strict=True)]
        return (float(len(posteriors)), math.fsum(entropies), *sums)

    def value(self, gathered: Sequence[tuple[float, ...]]) -> float:
        """Return the nats; ``nan`` where no sample has a posterior."""
        counted = [sums for sums in gathered if sums[0]]
        if not counted:
            return math.nan
        count, entropy, *mass = (math.fsum(column) for column in zip(*counted, strict=True))
        usage = -math.fsum(m / count * math.log(m / count) for m in mass if m > 0)
        return max(usage - entropy / count, 0.0)
