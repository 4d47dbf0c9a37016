"""PEFT modules beside frozen layers. Shape letters: ``…`` any leading dimensions, D width, S bottleneck or rank.

Weights stay in float32 whatever the base is in: an adapter computes in float32 and returns what it was given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from menura.errors import ConfigError

INIT_DEVIATION = 0.02  # of W_down; W_up is initially 0, so that the network equals its base (MAMLviaPP, Eq. 2)
NEAR_ZERO = 1e-3  # deviation of both maps if init is near-zero, truncated at two deviations (Houlsby et al., 2019)


@dataclass(frozen=True)
class Adapters:
    """Which adapters are added to a base, and where.

    ``kind`` none means in-place: the base's own weights adapt. ``layers`` is ``all``, ``upper`` (the upper half) or the
    number of uppermost layers. ``bottleneck`` is read for houlsby, ``rank`` for lora, ``num_virtual_tokens`` (vectors a
    layer) for prompt; ia3 has no size. ``init`` near-zero draws both maps of houlsby from N(0, 1e-3), which is not the
    exact identity. ``target_modules`` is read for lora: ``query_value`` (of each attention), ``all-linear`` (all linear
    maps of a layer, as peft finds them), or names of maps, separated by commas (``q_proj,mlp.down_proj``).
    """

    kind: Literal["none", "houlsby", "lora", "ia3", "prompt"] = "houlsby"
    bottleneck: int = 64
    rank: int = 64
    num_virtual_tokens: int = 64
    layers: Literal["all", "upper"] | int = "all"
    init: Literal["identity", "near-zero"] = "identity"
    target_modules: str = "query_value"

    def __post_init__(self) -> None:
        """Refuse sizes that make no module, and an initialisation that the kind does not have."""
        for name in ("bottleneck", "rank", "num_virtual_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"adapters.{name}: {getattr(self, name)}, must be at least 1")
        if isinstance(self.layers, int) and self.layers < 1:
            raise ConfigError(f"adapters.layers: {self.layers}, must be at least 1, or all, or upper")
        if self.init != "identity" and self.kind != "houlsby":
            raise ConfigError(
                f"adapters.init: {self.init} is for houlsby, not for {self.kind}",
                hint="--set model.adapters.init=identity",
            )
        if not all(name.strip() for name in self.target_modules.split(",")):
            raise ConfigError(
                "adapters.target_modules: a name is empty",
                hint="--set model.adapters.target_modules=all-linear, or query_value",
            )
        if self.target_modules != "query_value" and self.kind != "lora":
            raise ConfigError(f"adapters.target_modules: {self.target_modules} is for lora, not for {self.kind}")

    @property
    def size(self) -> int:
        """The size setting of the chosen kind; for a kind without one, ``bottleneck``."""
        return {"lora": self.rank, "prompt": self.num_virtual_tokens}.get(self.kind, self.bottleneck)

    def first_layer(self, depth: int) -> int:
        """Return the lowest layer that is adapted, of ``depth`` layers."""
        if self.kind == "none" or self.layers == "all":
            return 0
        if self.layers == "upper":
            return depth // 2
        if self.layers > depth:
            raise ConfigError(f"adapters.layers: {self.layers}, the base has {depth}")
        return depth - self.layers


@runtime_checkable
class Adapter(Protocol):
    """What every kind of adapter has."""

    neutral: ClassVar[Mapping[str, float]]  # parameter values under which the adapter changes nothing

    def can_learn(self) -> bool:
        """Tell whether a parameter other than a bias can get a nonzero gradient."""


class Houlsby(nn.Module):
    """A bottleneck on a sublayer's output: h + W_up gelu(W_down h + b_down) + b_up (Houlsby et al., 2019)."""

    neutral: ClassVar[Mapping[str, float]] = {"up.weight": 0, "up.bias": 0}

    def __init__(self, width: int, size: int, init: str = "identity") -> None:
        super().__init__()
        self.down = nn.Linear(width, size)
        self.up = nn.Linear(size, width)
        nn.init.zeros_(self.down.bias)
        nn.init.zeros_(self.up.bias)
        if init == "near-zero":
            for weight in (self.down.weight, self.up.weight):
                nn.init.trunc_normal_(weight, std=NEAR_ZERO, a=-2 * NEAR_ZERO, b=2 * NEAR_ZERO)
            return
        nn.init.normal_(self.down.weight, std=INIT_DEVIATION)
        # Only W_up and its bias are zero: were W_down zero too, W_up would never get a gradient.
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: Tensor | None, output: Tensor) -> Tensor:
        """Map a sublayer's output (…, D) to (…, D); its input is not read."""
        del inputs
        added: Tensor = self.up(nn.functional.gelu(self.down(output.to(self.down.weight.dtype))))
        return (output + added).to(output.dtype)

    def can_learn(self) -> bool:
        """W_up's gradient needs bottleneck activations, W_down's needs W_up: if all are 0 only b_up moves (spec E2)."""
        return any(bool(torch.any(p)) for p in (self.down.weight, self.down.bias, self.up.weight))


class Lora(nn.Module):
    """A low-rank addition to a linear map: W x + B A x (Hu et al., 2021; scale alpha / r with alpha = r)."""

    neutral: ClassVar[Mapping[str, float]] = {"up.weight": 0}

    def __init__(self, width_in: int, width_out: int, size: int) -> None:
        super().__init__()
        self.down = nn.Linear(width_in, size, bias=False)
        self.up = nn.Linear(size, width_out, bias=False)
        nn.init.normal_(self.down.weight, std=INIT_DEVIATION)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs: Tensor, output: Tensor) -> Tensor:
        """Add to the map's output (…, D_out) the low-rank map of its input (…, D_in)."""
        added: Tensor = self.up(self._lowered(inputs))
        return (output + added).to(output.dtype)

    def _lowered(self, inputs: Tensor) -> Tensor:
        weight = self.down.weight
        if inputs.dtype == weight.dtype or torch.is_autocast_enabled(inputs.device.type):
            return self.down(inputs.to(weight.dtype))  # type: ignore[no-any-return]  # a module's
        return _WideLinear.apply(inputs, weight)  # type: ignore[no-any-return, no-untyped-call]  # torch's own

    def can_learn(self) -> bool:
        """B learns through A and A through B: with both zero neither does."""
        return bool(torch.any(self.down.weight)) or bool(torch.any(self.up.weight))


class _WideLinear(torch.autograd.Function):
    """A linear map in the weight's precision that keeps its input in the input's own, which several maps share."""

    @staticmethod
    def forward(inputs: Tensor, weight: Tensor) -> Tensor:
        return nn.functional.linear(inputs.to(weight.dtype), weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        del output
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        inputs, weight = ctx.saved_tensors
        return (gradient @ weight).to(inputs.dtype), gradient.flatten(0, -2).T @ inputs.to(weight.dtype).flatten(0, -2)


class Ia3(nn.Module):
    """A factor for each of the last D numbers of a vector: (IA)³ (Liu et al., 2022). Ones change nothing."""

    neutral: ClassVar[Mapping[str, float]] = {"scale": 1}

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, given: Tensor) -> Tensor:
        """Scale the last D of (…, ≥ D); the numbers before them (the queries of a fused map) stay."""
        before = given.shape[-1] - len(self.scale)
        if not before:
            return (given * self.scale).to(given.dtype)
        return torch.cat([given[..., :before], (given[..., before:] * self.scale).to(given.dtype)], -1)

    def can_learn(self) -> bool:
        """A factor gets a gradient whatever its value: it multiplies what the base computes."""
        return True
