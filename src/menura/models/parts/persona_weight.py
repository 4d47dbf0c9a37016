"""Which replies teach how much a persona weighs, and the weight that each is learnt with (AR, Eq. 1).

Shape letters: B exchanges.
"""

import random
from collections.abc import Sequence

import torch
from torch import Tensor

from menura.batches.encode import EncodedExchange


def telling(
    exchanges: Sequence[EncodedExchange], unexpressed_share: float, noise: random.Random
) -> tuple[EncodedExchange, ...]:
    """Return the replies that say something of their persona, and a drawn share of the others; at least one of all."""
    kept = tuple(e for e in exchanges if e.expresses or noise.random() < unexpressed_share)
    return kept or tuple(exchanges[:1])


def graded(labels: Tensor, noise: random.Random) -> Tensor:
    """Return (B,) numbers a in [0, 1] drawn by labels (B,) of 0 or 1: of density 2a at 1, of density 2 (1 − a) at 0.

    Where there are as many of both labels, a is the chance that the label is 1.
    """
    drawn = torch.tensor([noise.random() ** 0.5 for _ in range(len(labels))]).to(labels)
    return torch.where(labels > 0, drawn, 1 - drawn)
