"""Weights that a number went missing from are told at once, before they reach a disk."""

from collections.abc import Mapping

import torch
from torch import Tensor

from menura.errors import NumericalError


def check_finite(weights: Mapping[str, Tensor], what: str, hint: str) -> None:
    """Raise NumericalError naming the first weights with a value that is not finite."""
    for name, value in weights.items():
        bad = int((~torch.isfinite(value.detach())).sum())
        if bad:
            raise NumericalError(f"{what}: {bad} values of {name} are not finite", hint=hint)
