"""Personas, as they are adapted, become the cost of adapting: seconds, sizes, distances and masks."""

from dataclasses import dataclass, field

from menura.adaptation.masks import PersonaMask
from menura.adaptation.weight_distance import WeightDistances


@dataclass
class Cost:
    """The cost of adapting, and distances of adapted weights."""

    drift: WeightDistances
    masks: dict[str, PersonaMask] = field(default_factory=dict)  # of each persona's first adaptation
    seconds: list[float] = field(default_factory=list)
    kilobytes: float = 0.0

    @property
    def each(self) -> tuple[float, float]:
        """The seconds to adapt a persona, a mean, and the size of its weights."""
        return sum(self.seconds) / max(len(self.seconds), 1), self.kilobytes

    def add(self, other: "Cost") -> None:
        """Add the cost of personas that come after these ones."""
        self.drift.add_all(other.drift)
        self.masks |= {persona: mask for persona, mask in other.masks.items() if persona not in self.masks}
        self.seconds += other.seconds
        self.kilobytes = other.kilobytes or self.kilobytes
