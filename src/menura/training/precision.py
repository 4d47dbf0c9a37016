"""Numbers as a run computes with them: rougher where it asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


@contextmanager
def approximately(precision: Precision, device: torch.device) -> Iterator[None]:
    """Let matrix products run in bfloat16 where a run asks for it; quicker, not exact."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        yield
