"""A training loss that no longer falls lowers the learning rate, as AR+ was trained: torch's, asked at every step."""

import math
from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau


class Plateau:
    """The learning rate after some losses: times ``factor`` once more than ``patience`` in a row were no new lowest.

    The trainer's optimiser has a warm-up besides, so torch's scheduler moves the rate of an optimiser of its own.
    """

    def __init__(self, lr: float, patience: int, factor: float, min_lr: float) -> None:
        self._optimizer = torch.optim.SGD([torch.zeros(())], lr=lr)
        self._scheduler = ReduceLROnPlateau(self._optimizer, patience=patience, factor=factor, min_lr=min_lr)

    @property
    def lr(self) -> float:
        """The learning rate now."""
        return float(self._optimizer.param_groups[0]["lr"])

    def step(self, loss: float) -> None:
        """Take one step's loss in."""
        self._scheduler.step(loss)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps, as JSON."""
        best = float(self._scheduler.best)
        return {
            "rate": self.lr,
            "lowest": best if math.isfinite(best) else None,
            "waited": self._scheduler.num_bad_epochs,
        }

    def put(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` returned."""
        self._optimizer.param_groups[0]["lr"] = state["rate"]
        self._scheduler.best = math.inf if state["lowest"] is None else state["lowest"]
        self._scheduler.num_bad_epochs = state["waited"]
