"""A training loss that no longer falls lowers the rate, as AR+ was trained: asked at every step."""

import math
from dataclasses import dataclass
from typing import Any

THRESHOLD = 1e-4  # of the lowest loss: what is less below it is no new lowest; torch's default
LEAST_CHANGE = 1e-8  # of the rate; a smaller one is left out; torch's default


@dataclass
class Plateau:
    """The rate after some losses: times ``factor`` once more than ``patience`` in a row were no new lowest."""

    rate: float
    patience: int  # steps
    factor: float
    floor: float
    lowest: float = math.inf  # nats per token
    waited: int = 0  # steps since

    def see(self, loss: float) -> None:
        """Take one step's loss in."""
        if loss < self.lowest * (1 - THRESHOLD):
            self.lowest, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            lower = max(self.rate * self.factor, self.floor)
            self.rate = lower if self.rate - lower > LEAST_CHANGE else self.rate
            self.waited = 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, as JSON."""
        lowest = self.lowest if math.isfinite(self.lowest) else None
        return {"rate": self.rate, "lowest": lowest, "waited": self.waited}

    def put(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self.rate, self.waited = state["rate"], state["waited"]
        self.lowest = math.inf if state["lowest"] is None else state["lowest"]
