"""A function of tensors becomes compiled code, once for all sizes of the tensors that vary.

This calls torch's compiler below ``torch.compile``, which has no graph for a gradient of a gradient.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import deterministic

from menura.errors import ConfigError

Function = Callable[[Sequence[Tensor]], Sequence[Tensor]]
COMPILERS = {"darwin": "clang++", "win32": "cl"}  # elsewhere g++; the variable CXX names another, as torch has it
LEAVE_OUT = "leave outer.compile out"


@dataclass(frozen=True)
class Graph:
    """Compiled code: called with tensors, it returns a list of detached tensors."""

    _run: Callable[..., Sequence[Tensor]]
    _fits: Callable[[Sequence[Tensor]], bool]

    def __call__(self, given: Sequence[Tensor]) -> list[Tensor]:
        """Run the code."""
        with torch.no_grad(), _in_order(given[0].device):
            return list(self._run(*given))

    def fits(self, given: Sequence[Tensor]) -> bool:
        """Tell whether it is valid for tensors of these sizes."""
        return self._fits(given)


def compiled(function: Function, fixed: Sequence[Tensor], varying: Sequence[Tensor]) -> Graph:
    """Compile a function of ``fixed``, then ``varying`` tensors; every size of the latter, from two on, may change.

    The function is traced once, with fake tensors; whatever is no tensor in it is a constant of the graph. It may take
    derivatives. Raises ConfigError if compiling fails.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC0415  # seconds to import, for an option
    from torch.fx.experimental.proxy_tensor import make_fx  # noqa: PLC0415
    from torch.fx.experimental.symbolic_shapes import ShapeEnv  # noqa: PLC0415

    sizes = ShapeEnv()
    mode = FakeTensorMode(shape_env=sizes, allow_non_fake_inputs=True)
    places = [*((value, False) for value in fixed), *((value, True) for value in varying)]
    given = [
        _without_values(mode, value.detach(), index, varies=varies) for index, (value, varies) in enumerate(places)
    ]

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(tensors))

    try:
        traced = make_fx(flat, tracing_mode="symbolic", _allow_non_fake_inputs=True)(*given)
        run = machine_code(traced, given, mode)
    except (RuntimeError, OSError) as error:
        raise ConfigError(f"torch could not compile: {str(error).splitlines()[0]}", hint=LEAVE_OUT) from error
    held = sizes.produce_guards_expression(given)  # what tracing and compiling assumed about sizes
    return Graph(run, lambda tensors: held is None or bool(sizes.evaluate_guards_expression(held, tensors)))


def machine_code(traced: Any, given: Sequence[Any], fake_mode: Any) -> Callable[..., Sequence[Tensor]]:
    """Compile a traced graph; ``given`` are its inputs as tensors of ``fake_mode`` (torch's FakeTensorMode)."""
    from torch._guards import TracingContext, tracing  # noqa: PLC0415  # seconds to import, for an option
    from torch._inductor.compile_fx import compile_fx  # noqa: PLC0415

    with tracing(TracingContext(fake_mode)), torch.no_grad(), _in_order(given[0].device):
        run: Any = compile_fx(traced, list(given))
    made: Callable[..., Sequence[Tensor]] = run
    return made


def _without_values(mode: Any, value: Tensor, index: int, *, varies: bool) -> Any:
    from torch._dynamo.source import ConstantSource  # noqa: PLC0415  # as above
    from torch.fx.experimental.symbolic_shapes import DimDynamic, StatelessSymbolicContext  # noqa: PLC0415

    # Dynamic, not duck: sizes that are equal in this run need not be so in the next.
    kind = DimDynamic.DYNAMIC if varies else DimDynamic.STATIC
    sizes: Any = StatelessSymbolicContext([kind] * value.ndim)
    return mode.from_tensor(value, source=ConstantSource(f"given_{index}"), symbolic_context=sizes)


@contextmanager
def _in_order(device: torch.device) -> Iterator[None]:
    """Make CPU threads add up in a fixed order, so that a resumed run is bit-identical; elsewhere no change.

    The compiler would otherwise use atomic adds, for example to a token's embedding.
    """
    settings: Any = deterministic  # the module has a class of its own, which its types do not say
    before, filling = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    if device.type == "cpu":
        # Filling uninitialised memory is a part of that mode that changes no result here, and takes time.
        torch.use_deterministic_algorithms(True)
        settings.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        settings.fill_uninitialized_memory = filling


def check_compiler(device: torch.device) -> None:
    """Raise ConfigError unless something can be compiled here."""
    name = os.environ.get("CXX") or COMPILERS.get(sys.platform, "g++")
    if device.type == "cpu" and shutil.which(name) is None:
        raise ConfigError(
            f"outer.compile needs a C++ compiler, and {name} is not here",
            hint=f"install it, or name another in the variable CXX, or {LEAVE_OUT}",
        )
    one = torch.arange(3.0, device=device)
    found = compiled(lambda given: [given[0].exp()], [], [one])([one])[0]
    assert torch.allclose(found, one.exp()), "what was compiled computes something else"
