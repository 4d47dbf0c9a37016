"""Linear maps by oneDNN: for few rows with a prepacked weight, a second copy of the matrix in oneDNN's blocked layout.

This is about weights; packed sequences are in ``batches/varlen.py``.

PyTorch's default for float32 (MKL) uses half of the width of the registers of CPUs that are not Intel's, and reorders a
matrix at every call: it takes more than twice as long, for the few rows of one decoding step three times.

Shape letters: R rows, M and N the widths of a matrix.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

OPERATIONS = ("_reorder_linear_weight", "_linear_pointwise")  # of torch.ops.mkldnn; a build may lack them
LEAST = 1 << 16  # numbers of a matrix: smaller ones gain nothing
ROWS = 32  # from so many on it is quicker to reorder a matrix at every call than to call MKL,
MANY_ROWS = 256  # and from so many on that takes no time to speak of, so that a copy is not worth its memory


class _Product(torch.autograd.Function):
    """a bᵀ (R, N) from (R, M) and (N, M), differentiable any number of times."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        """Multiply; keep of both what the other's gradient needs."""
        wanted = ctx.needs_input_grad
        ctx.save_for_backward(a if wanted[1] else None, b if wanted[0] else None)
        return _onednn(a, b, None)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of a and b."""
        (of_product,) = gradients
        a, b = ctx.saved_tensors
        return (
            None if b is None else _product(of_product, b.t()),
            None if a is None else _product(of_product.t(), a.t()),
        )


def _onednn(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    made: Tensor = torch.ops.mkldnn._linear_pointwise(_dense(a), _dense(b), bias, "none", [], "")
    return made


def _dense(values: Tensor) -> Tensor:
    """Return values whose numbers stand in rows or, of a matrix, in columns: oneDNN reads both without a copy."""
    in_columns = values.dim() == 2 and values.t().is_contiguous()
    return values if in_columns else values.contiguous()


def _product(a: Tensor, b: Tensor) -> Tensor:
    made: Tensor = _Product.apply(a, b)  # type: ignore[no-untyped-call]  # torch gives it no types
    return made


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x weightᵀ + bias (…, N), from x (…, M) and a weight (N, M), by oneDNN where that is quicker.

    It is differentiable any number of times, as the usual product is, and equal to it up to rounding.
    """
    if not (onednn_serves(x, weight) and x.numel() >= ROWS * x.shape[-1]):
        return nn.functional.linear(x, weight, bias)
    if not torch.is_grad_enabled() or not (x.requires_grad or weight.requires_grad):
        return _onednn(x, weight, bias)
    made = _product(x.reshape(-1, x.shape[-1]), weight).view(*x.shape[:-1], len(weight))
    return made if bias is None else made + bias


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
        if not serves(x, weight) or x.numel() >= MANY_ROWS * x.shape[-1]:
            return linear(x, weight, bias)
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


def linear_of(module: nn.Linear) -> Callable[[Tensor], Tensor]:
    """Return a linear map of a base as a function with the weights that it holds now.

    While ``keeping_copies``, its packed copy is used, and outlives the function. A second copy of a base is worth its
    memory where a batch is decoded step by step, not for one reply or while a persona is adapted.
    """
    packed = _PACKED.setdefault(module, PackedWeight())
    weight, bias = module.weight, module.bias

    def mapped(x: Tensor) -> Tensor:
        several = x.numel() > x.shape[-1]
        return packed.linear(x, weight, bias) if several and _kept.copies else linear(x, weight, bias)

    return mapped


@contextmanager
def keeping_copies() -> Iterator[None]:
    """Use packed copies of a base's matrices in this thread while the block runs, and keep them."""
    before, _kept.copies = _kept.copies, True
    try:
        yield
    finally:
        _kept.copies = before


class _ThreadState(threading.local):
    copies = False


_kept = _ThreadState()
_PACKED: WeakKeyDictionary[nn.Module, PackedWeight] = WeakKeyDictionary()


def serves(x: Tensor, weight: Tensor) -> bool:
    """Return whether the packed copy can be used for a product."""
    return (
        not torch.is_grad_enabled()
        and isinstance(weight, nn.Parameter)  # weights swapped in by ``functional_call`` are not packed
        and not weight.is_inference()
        and onednn_serves(x, weight)
    )


def onednn_serves(x: Tensor, weight: Tensor) -> bool:
    """Return whether oneDNN can multiply these: large float32 matrices on a CPU, outside of tracing and transforms."""
    return (
        AVAILABLE
        and weight.numel() >= LEAST
        and x.device.type == weight.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and type(x) in PLAIN
        and type(weight) in PLAIN
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and torch._C._functorch.peek_interpreter_stack() is None
    )


PLAIN = (Tensor, nn.Parameter)  # not the fake tensors of a compiler
AVAILABLE: bool = torch._C._has_mkldnn and all(hasattr(torch.ops.mkldnn, name) for name in OPERATIONS)
