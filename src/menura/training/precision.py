"""Autocast to bfloat16, if a run's ``dtype`` asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


@contextmanager
def approximately(precision: Precision, device: torch.device) -> Iterator[None]:
    """Run matrix products in bfloat16 if a run asks for it: faster, less exact."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield
