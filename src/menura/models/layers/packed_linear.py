"""A linear map with a prepacked weight: a second copy of its matrix, in the blocked layout of oneDNN.

This is about weights; packed sequences are in ``batches/varlen.py``.

PyTorch's default (MKL) reorders a matrix at every call, and is slow on CPUs that are not Intel's: for the few rows of
one decoding step it takes about three times as long.
"""

from typing import Any, Self
from weakref import ref

import torch
from torch import Tensor, nn

OPERATIONS = ("_reorder_linear_weight", "_linear_pointwise")  # of torch.ops.mkldnn; a build may lack them
LEAST = 1 << 16  # numbers of a matrix: smaller ones gain nothing


class PackedWeight:
    """The packed copy of one matrix: made at its first use, and again once the matrix has changed.

    It is used without gradients, on a CPU, in float32, for a parameter of the model; elsewhere, and where PyTorch was
    built without oneDNN, the product is the usual one. It is in no state dict, and a copy of the model makes its own.
    Writes to ``weight.data`` are not noticed; every other in-place change of a weight is.
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
        """Return an empty one."""
        return type(self)()

    def __reduce__(self) -> tuple[type[Self], tuple[()]]:
        """Pickle as an empty one."""
        return type(self), ()


class PackedLinear(nn.Linear):
    """A linear map that uses a packed copy of its matrix where no gradient is needed."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__(width, size)
        self.packed = PackedWeight()

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, M) to (…, N)."""
        return self.packed.linear(x, self.weight, self.bias)


def serves(x: Tensor, weight: Tensor) -> bool:
    """Return whether the packed copy can be used for a product."""
    return (
        AVAILABLE
        and not torch.is_grad_enabled()
        and isinstance(weight, nn.Parameter)  # weights swapped in by ``functional_call`` are not packed
        and weight.numel() >= LEAST
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not weight.is_inference()
        and not torch.compiler.is_compiling()
    )


AVAILABLE: bool = torch._C._has_mkldnn and all(hasattr(torch.ops.mkldnn, name) for name in OPERATIONS)
