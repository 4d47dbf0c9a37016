"""Perplexity of the references, per token, per word or per character, and bits per byte."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menura.metrics.score import Aggregation, Sample, by_dialogue, summed

Per = Literal["token", "word", "char", "byte"]
Of = Literal["all", "posterior", "best"]  # the model's NLL, or that under one value of its latent

_NAMES: dict[Per, str] = {"token": "ppl", "word": "ppl-word", "char": "ppl-char", "byte": "bits-per-byte"}
_UNITS: dict[Per, str] = {"token": "per token", "word": "per word", "char": "per character", "byte": "bits"}


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean NLL of the references, or bits per byte; 1 (0 bits) is a perfect prediction.

    Per token compares only models of one tokeniser; per word, character and byte compare any two. The end of a reply
    counts as one unit, as it is predicted too. ``paml`` first averages NLL per unit over each dialogue.

    ``of`` takes the NLL under one value of a latent: ``posterior`` under the likeliest of the posterior given the
    reference, ``best`` under the one with the lowest NLL. Both have seen the reference; only ``all`` compares with
    models without latents.
    """

    per: Per
    aggregation: Aggregation = "pooled"
    of: Of = "all"

    better: Literal["lower"] = "lower"

    @property
    def name(self) -> str:
        """The catalogue's name."""
        about = "" if self.of == "all" else f"-{self.of}"
        return _NAMES[self.per] + about + ("" if self.aggregation == "pooled" else "-paml")

    @property
    def unit(self) -> str:
        """``per token``, ``per word`` or ``bits``."""
        return _UNITS[self.per]

    @property
    def signature(self) -> str:
        """Names the unit counted and the aggregation; the tokeniser is the base's."""
        words = "|words:space" if self.per == "word" else ""
        act = "" if self.of == "all" else f"|latent:{self.of}"
        return f"{self.name}|per:{self.per}{words}|end:counted|aggregation:{self.aggregation}{act}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return (summed NLL, units), or with ``paml`` (sum of the dialogues' NLL per unit, dialogues)."""
        if self.aggregation == "pooled":
            return self._totals(samples)
        folds = [self._totals(fold) for fold in by_dialogue(samples).values()]
        means = [nll / units for nll, units in folds if units]
        return math.fsum(means), float(len(means))

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the perplexity (or bits); ``nan`` without references or their NLL, ``inf`` beyond a float."""
        nll, units = summed(gathered) if gathered else (0.0, 0.0)
        if not units:
            return math.nan
        return nll / units / math.log(2) if self.per == "byte" else _exp(nll / units)

    def _totals(self, samples: Sequence[Sample]) -> tuple[float, float]:
        return math.fsum(self._nll(s) for s in samples), float(sum(self._units(s) for s in samples))

    def _nll(self, sample: Sample) -> float:
        if self.of == "all":
            return sample.reference_nll
        nll = sample.posterior_nll if self.of == "posterior" else sample.best_nll
        return math.nan if nll is None else nll

    def _units(self, sample: Sample) -> int:
        if self.per == "token":
            return sample.reference_tokens
        if self.per == "word":
            return len(sample.reference.split()) + 1
        if self.per == "char":
            return len(sample.reference) + 1
        # A lone surrogate from a careless reader must not stop an evaluation at its last step.
        return len(sample.reference.encode("utf-8", errors="surrogatepass")) + 1


def perplexity_of(
    nll: Sequence[float], tokens: Sequence[int], aggregation: Literal["pooled", "paml", "mean_of_exps"]
) -> float:
    """Return the perplexity of batches with these summed NLLs and token counts.

    ``pooled`` weighs every token alike; ``paml`` is the exponential of the mean of the batch means, the figure PAML
    prints; ``mean_of_exps`` averages the batches' perplexities. ``nan`` where there is no token.
    """
    batches = [(batch, count) for batch, count in zip(nll, tokens, strict=True) if count]
    if not batches:
        return math.nan
    if aggregation == "pooled":
        return _exp(math.fsum(batch for batch, _ in batches) / sum(count for _, count in batches))
    means = [batch / count for batch, count in batches]
    if aggregation == "paml":
        return _exp(math.fsum(means) / len(means))
    return math.fsum(_exp(mean) for mean in means) / len(means)


def _exp(nll: float) -> float:
    try:
        return math.exp(nll)
    except OverflowError:  # a diverged model has infinite perplexity; the table should show it, without a traceback
        return math.inf
