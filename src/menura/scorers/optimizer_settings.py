"""How a scorer is trained: optimiser, schedule, and which weights are kept."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from menura.errors import ConfigError

SORTED_TOGETHER = 16  # batches whose examples are sorted by length: little padding, and still at random


@dataclass(frozen=True)
class Learning:
    """Adam, or AdamW if ``weight_decay`` is above 0, on the mean NLL of a batch's labels.

    ``warmup_ratio`` is the share of the steps in which the learning rate rises; then, with ``linear_decay``, it falls
    linearly to 0. ``validation_share`` is the share of the training examples that is set aside: the epoch with the
    lowest loss on it is kept, with 0 the last one. ``class_balance`` weights an example by its label: 0 all equally, 1
    so that every label has the same total weight.
    """

    epochs: int = 3
    batch_size: int = 32
    lr: float = 1e-3
    warmup_ratio: float = 0.0
    linear_decay: bool = True
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0  # gradients are clipped to it
    validation_share: float = 0.0
    class_balance: float = 0.0
    save_every: int = 100  # steps

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing can train."""
        for name in ("epochs", "batch_size", "save_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"learning.{name}: {getattr(self, name)}, must be at least 1")
        for name in ("lr", "max_grad_norm"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"learning.{name}: {getattr(self, name)}, must be > 0")
        for name in ("warmup_ratio", "validation_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"learning.{name}: {getattr(self, name)}, must be from 0 to below 1")
        if not 0 <= self.class_balance <= 1:
            raise ConfigError(f"learning.class_balance: {self.class_balance}, must be from 0 to 1")

    def label_weights(self, labels: Sequence[str], learnt: Sequence[str]) -> list[float]:
        """Return the weight of an example of each label; the mean over ``learnt`` is 1 if ``class_balance`` is 1."""
        counts = Counter(learnt)
        return [(len(learnt) / (len(labels) * max(counts[label], 1))) ** self.class_balance for label in labels]

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        rising = self.warmup_ratio * steps
        if step < rising:
            return self.lr * (step + 1) / (rising + 1)
        return self.lr * (steps - step) / (steps - rising) if self.linear_decay else self.lr


def batches_of(lengths: Sequence[int], size: int, seed: str) -> list[list[int]]:
    """Return an epoch's batches of indices, shuffled by ``seed``, with examples of similar length together."""
    rng = random.Random(seed)
    order = rng.sample(range(len(lengths)), len(lengths))
    made: list[list[int]] = []
    for start in range(0, len(order), size * SORTED_TOGETHER):
        near = sorted(order[start : start + size * SORTED_TOGETHER], key=lambda place: lengths[place])
        made += [near[first : first + size] for first in range(0, len(near), size)]
    rng.shuffle(made)
    return made
