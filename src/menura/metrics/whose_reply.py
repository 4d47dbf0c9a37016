"""Which persona wrote a reply, as a classifier of all personas sees it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from menura.metrics.score import Sample, summed


@dataclass(frozen=True)
class WhoseReply:
    """The share of replies for which a classifier finds the persona likeliest, in per cent: the mean over personas.

    The classifier has learnt from dialogues that are neither support nor query (``scorers.persona_classifier``).
    """

    name: str = "whose-reply"
    unit: str = "%"
    better: Literal["higher"] = "higher"

    @property
    def signature(self) -> str:
        """Names what is averaged; ``signature_of`` adds the classifier."""
        return f"{self.name}|top:1|mean:personas"

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Add the classifier."""
        classifiers = " and ".join(sorted({sample.identified_by for sample in samples if sample.identified_by}))
        return f"{self.signature}|classifier:{classifiers or 'none'}"

    def gather(self, samples: Sequence[Sample]) -> tuple[float, float]:
        """Return the share of replies whose persona is likeliest, and 1; zeros for a persona that is not known."""
        ranks = [sample.persona_rank for sample in samples if sample.persona_rank is not None]
        return (sum(rank == 0 for rank in ranks) / len(ranks), 1.0) if ranks else (0.0, 0.0)

    def value(self, gathered: Sequence[tuple[float, float]]) -> float:
        """Return the per cent; ``nan`` where no persona is known."""
        shares, personas = summed(gathered) if gathered else (0.0, 0.0)
        return 100 * shares / personas if personas else math.nan
