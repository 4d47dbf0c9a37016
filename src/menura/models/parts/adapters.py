"""Small modules beside frozen layers. Shape letters: ``…`` any leading dimensions, D width, S adapter size."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from menura.errors import ConfigError

INIT_DEVIATION = 0.02  # of W_down; W_up starts at 0, so the whole network starts as the base (MAMLviaPP, Eq. 2)


@dataclass(frozen=True)
class Adapters:
    """What is added to a base and where.

    ``kind`` none means in-place: the base's own weights adapt. ``layers`` is ``all``, ``upper`` (the upper half) or the
    number of uppermost layers. ``size`` is the bottleneck (Houlsby) or the rank (LoRA).
    """

    kind: Literal["none", "houlsby", "lora"] = "houlsby"
    size: int = 64
    layers: Literal["all", "upper"] | int = "all"

    def __post_init__(self) -> None:
        """Refuse sizes that make no module."""
        if self.size < 1:
            raise ConfigError(f"adapters.size: {self.size}, must be at least 1")
        if isinstance(self.layers, int) and self.layers < 1:
            raise ConfigError(f"adapters.layers: {self.layers}, must be at least 1, or all, or upper")

    def first_layer(self, depth: int) -> int:
        """Return the lowest layer that is adapted, of ``depth`` layers."""
        if self.kind == "none" or self.layers == "all":
            return 0
        if self.layers == "upper":
            return depth // 2
        if self.layers > depth:
            raise ConfigError(f"adapters.layers: {self.layers}, the base has {depth}")
        return depth - self.layers


class Houlsby(nn.Module):
    """A bottleneck on a sublayer's output: h + W_up gelu(W_down h + b_down) + b_up (Houlsby et al., 2019)."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        nn.init.normal_(self.down.weight, std=INIT_DEVIATION)
        nn.init.zeros_(self.down.bias)
        # Only W_up and its bias are zero: were W_down zero too, W_up would never get a gradient.
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, inputs: Tensor, output: Tensor) -> Tensor:
        """Map a sublayer's output (…, D) to (…, D); its input is not read."""
        del inputs
        added: Tensor = self.up(nn.functional.gelu(self.down(output)))
        return output + added


class Lora(nn.Module):
    """A low-rank addition to a linear map: W x + B A x (Hu et al., 2021; scale alpha / r with alpha = r)."""

    def __init__(self, width_in: int, width_out: int, size: int) -> None:
        super().__init__()
        self.down = nn.Linear(width_in, size, bias=False)
        self.up = nn.Linear(size, width_out, bias=False)
        nn.init.normal_(self.down.weight, std=INIT_DEVIATION)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: Tensor, output: Tensor) -> Tensor:
        """Add to the map's output (…, D_out) what its input (…, D_in) gives through the bottleneck."""
        added: Tensor = self.up(self.down(inputs))
        return output + added


def check_can_learn(module: nn.Module) -> None:
    """Raise ConfigError if an adapter is all zero: both maps at zero are a point no gradient leaves (spec E2)."""
    for name, part in module.named_modules():
        if isinstance(part, Houlsby | Lora) and not (torch.any(part.down.weight) or torch.any(part.up.weight)):
            raise ConfigError(f"adapter {name}: W_down and W_up are both zero, so only a bias could ever learn")
