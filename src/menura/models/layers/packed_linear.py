"""Matrices are kept a second time in the order in which oneDNN multiplies by them.

What PyTorch otherwise asks reads a matrix anew as it finds it, and on processors that are not of its maker takes the
slow way through it: for the few rows of a token that is said, some three times as long.
"""

from typing import Any, Self
from weakref import ref

import torch
from torch import Tensor, nn

OPERATIONS = ("_reorder_linear_weight", "_linear_pointwise")  # of torch.ops.mkldnn; a build may lack them
LEAST = 1 << 16  # numbers of a matrix: of smaller ones nothing is gained


class PackedWeight:
    """The second copy of one matrix: made when it is first multiplied by, and again once the matrix has changed.

    It serves where nothing is learnt: on a CPU, in float32, by a weight of the model's own; elsewhere, and where
    PyTorch was built without oneDNN, the product is the usual one. It belongs to no state, and a model's copy makes
    its own. Whoever writes to ``weight.data`` is not noticed; all else that changes a weight in place is.
    """

    def __init__(self) -> None:
        self._made_of: tuple[ref[Tensor], int, int] | None = None
        self._copy: Tensor | None = None

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return x weightᵀ + bias (…, N), from x (…, M) and a weight (N, M)."""
        if not serves(x, weight):
            return nn.functional.linear(x, weight, bias)
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._of(weight), bias, "none", [], "")
        return found

    def _of(self, weight: Tensor) -> Tensor:
        state = (weight._version, weight.data_ptr())
        made_of = self._made_of
        if self._copy is None or made_of is None or made_of[0]() is not weight or made_of[1:] != state:
            self._copy = self._made(weight.detach())
            self._made_of = (ref(weight), *state)
        return self._copy

    def _made(self, weight: Tensor) -> Tensor:
        made: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return one that has made nothing yet."""
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """Pickle as one that has made nothing yet."""
        return type(self), ()


class PackedLinear(nn.Linear):
    """A linear map that keeps its matrix packed where nothing is learnt."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__(width, size)
        self.packed = PackedWeight()

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, M) to (…, N)."""
        return self.packed.linear(x, self.weight, self.bias)


def serves(x: Tensor, weight: Tensor) -> bool:
    """Return whether a product is one that a packed matrix serves for."""
    return (
        AVAILABLE
        and not torch.is_grad_enabled()
        and isinstance(weight, nn.Parameter)  # those that are given for one call are not packed
        and weight.numel() >= LEAST
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not weight.is_inference()
        and not torch.compiler.is_compiling()
    )


AVAILABLE: bool = torch._C._has_mkldnn and all(hasattr(torch.ops.mkldnn, name) for name in OPERATIONS)
