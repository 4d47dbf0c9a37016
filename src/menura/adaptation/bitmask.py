"""Bools become packed bits, eight per byte, the first in the lowest bit."""

import torch
from torch import Tensor


def packed(there: Tensor) -> Tensor:
    """Return (Y,) uint8 on the CPU, of bools of any shape."""
    flat = there.flatten().to("cpu", torch.uint8)
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % 8)).view(-1, 8)
    return (padded << torch.arange(8, dtype=torch.uint8)).sum(1).to(torch.uint8)


def unpacked(bits: Tensor) -> Tensor:
    """Return bools, eight for each byte of the last dimension."""
    places = torch.arange(8, dtype=torch.uint8, device=bits.device)
    return ((bits[..., None] >> places) & 1).bool().flatten(-2)
