"""Numbers as a run computes with them: rougher where it asks for it, and never written where one went missing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor

from menura.errors import NumericalError

Precision = Literal["float32", "bfloat16"]


def check_finite(weights: Mapping[str, Tensor], what: str, hint: str) -> None:
    """Raise NumericalError naming the first weights with a value that is not finite."""
    for name, value in weights.items():
        bad = int((~torch.isfinite(value.detach())).sum())
        if bad:
            raise NumericalError(f"{what}: {bad} values of {name} are not finite", hint=hint)


@contextmanager
def approximately(precision: Precision, device: torch.device) -> Iterator[None]:
    """Let matrix products run in bfloat16 where a run asks for it; quicker, not exact."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield
