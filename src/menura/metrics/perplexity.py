"""Perplexity: what the model thought of the references, per token, per word or in bits per byte."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menura.metrics.score import Aggregation, Sample, by_dialogue, summed

Per = Literal["token", "word", "byte"]

_NAMES: dict[Per, str] = {"token": "ppl", "word": "ppl-word", "byte": "bits-per-byte"}
_UNITS: dict[Per, str] = {"token": "per token", "word": "per word", "byte": "bits"}


@dataclass(frozen=True)
class Perplexity:
    """How surprising the references are; 1 (0 bits) is a model that knew every one.

    Per token compares models of one tokeniser only; per word and per byte compare any two. The end of a reply counts
    as one token, one word, one byte: it is predicted too. ``paml`` averages nats per unit over dialogues first.
    """

    per: Per
    aggregation: Aggregation = "pooled"

    better: Literal["lower"] = "lower"

    @property
    def name(self) -> str:
        """The catalogue's name."""
        return _NAMES[self.per] + ("" if self.aggregation == "pooled" else "-paml")

    @property
    def unit(self) -> str:
        """``per token``, ``per word`` or ``bits``."""
        return _UNITS[self.per]

    @property
    def signature(self) -> str:
        """Names the unit counted and the aggregation; the tokeniser is the base's."""
        words = "|words:space" if self.per == "word" else ""
        return f"{self.name}|per:{self.per}{words}|end:counted|aggregation:{self.aggregation}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return (nats, units), or under ``paml`` (sum of the dialogues' nats per unit, dialogues)."""
        if self.aggregation == "pooled":
            return self._totals(samples)
        folds = [self._totals(fold) for fold in by_dialogue(samples).values()]
        means = [nats / units for nats, units in folds if units]
        return math.fsum(means), float(len(means))

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the perplexity (or bits); ``nan`` without a reference, ``inf`` beyond what a float holds."""
        nats, units = summed(gathered) if gathered else (0.0, 0.0)
        if not units:
            return math.nan
        return nats / units / math.log(2) if self.per == "byte" else _exp(nats / units)

    def _totals(self, samples: Sequence[Sample]) -> tuple[float, float]:
        return math.fsum(s.reference_nats for s in samples), float(sum(self._units(s) for s in samples))

    def _units(self, sample: Sample) -> int:
        if self.per == "token":
            return sample.reference_tokens
        if self.per == "word":
            return len(sample.reference.split()) + 1
        # A lone surrogate from a careless reader must not stop an evaluation at its last step.
        return len(sample.reference.encode("utf-8", errors="surrogatepass")) + 1


def perplexity_of(
    nats: Sequence[float], tokens: Sequence[int], aggregation: Literal["pooled", "paml", "mean_of_exps"]
) -> float:
    """Return the perplexity of batches with these summed nats and token counts.

    ``pooled`` weighs every token alike; ``paml`` is the exponential of the mean of the batch means, the figure PAML
    prints; ``mean_of_exps`` averages the batches' perplexities. ``nan`` where there is no token.
    """
    batches = [(batch, count) for batch, count in zip(nats, tokens, strict=True) if count]
    if not batches:
        return math.nan
    if aggregation == "pooled":
        return _exp(math.fsum(batch for batch, _ in batches) / sum(count for _, count in batches))
    means = [batch / count for batch, count in batches]
    if aggregation == "paml":
        return _exp(math.fsum(means) / len(means))
    return math.fsum(_exp(mean) for mean in means) / len(means)


def _exp(nats: float) -> float:
    try:
        return math.exp(nats)
    except OverflowError:  # a diverged model is infinitely surprised; the table should say so, not the traceback
        return math.inf
