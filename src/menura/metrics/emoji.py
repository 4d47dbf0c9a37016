"""E-acc: does a classifier predict the persona's emoji from the reply? (Song et al., 2020)"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menura.metrics.score import Sample, summed


@dataclass(frozen=True)
class EmojiAccuracy:
    """The share of replies whose emoji is among the classifier's first ``top``, in per cent.

    ``within`` ranks only the emojis of the personas scored.
    """

    name: str
    top: int = 1
    within: bool = False

    unit: str = "%"
    better: Literal["higher"] = "higher"
    scorer: str = "emoji"

    @property
    def signature(self) -> str:
        """The number of top labels; ``signature_of`` adds the classifier."""
        return f"{self.name}|top:{self.top}|among:{'personas' if self.within else 'all'}"

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Add the classifier, how many replies it read, and within how many emojis."""
        ranked = [sample for sample in samples if self._rank(sample) is not None]
        classifiers = " and ".join(sorted({sample.classified_by for sample in ranked}))
        within = "-".join(map(str, sorted({sample.emojis for sample in ranked})))
        among = f"|emojis:{within or 'none'}" if self.within else ""
        return f"{self.signature}{among}|classifier:{classifiers or 'none'}|replies:{len(ranked)}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return (replies with the emoji among the first, replies ranked)."""
        ranks = [rank for sample in samples if (rank := self._rank(sample)) is not None]
        return float(sum(rank < self.top for rank in ranks)), float(len(ranks))

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the per cent; ``nan`` where no reply was ranked."""
        hits, ranked = summed(gathered) if gathered else (0.0, 0.0)
        return 100 * hits / ranked if ranked else math.nan

    def _rank(self, sample: Sample) -> int | None:
        return sample.emoji_rank_within if self.within else sample.emoji_rank
