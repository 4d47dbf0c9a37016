"""A function of tensors becomes machine code, once for all sizes of those that vary.

This is where torch's compiler is called, below ``torch.compile``: that has no graph for a gradient inside a gradient.
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
    """What was compiled: called with tensors, it returns a list of tensors, free of any graph."""

    _run: Callable[..., Sequence[Tensor]]
    _fits: Callable[[Sequence[Tensor]], bool]

    def __call__(self, given: Sequence[Tensor]) -> list[Tensor]:
        """Compute it."""
        with torch.no_grad(), _in_order(given[0].device):
            return list(self._run(*given))

    def fits(self, given: Sequence[Tensor]) -> bool:
        """Tell whether it holds for tensors of these sizes."""
        return self._fits(given)


def compiled(function: Function, fixed: Sequence[Tensor], varying: Sequence[Tensor]) -> Graph:
    """Compile a function of ``fixed``, then ``varying`` tensors; of the latter every size, from two on, may change.

    The function is run once, on tensors without values; whatever is no tensor in it stays as it is in this run. It
    may take derivatives. Raises ConfigError where compiling fails.
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
    held = sizes.produce_guards_expression(given)  # what tracing and compiling took for granted of the sizes
    return Graph(run, lambda tensors: held is None or bool(sizes.evaluate_guards_expression(held, tensors)))


def machine_code(traced: Any, given: Sequence[Any], mode: Any) -> Callable[..., Sequence[Tensor]]:
    """Compile what was noted down; ``given`` are its inputs without values, of a fake tensor mode."""
    from torch._guards import TracingContext, tracing  # noqa: PLC0415  # seconds to import, for an option
    from torch._inductor.compile_fx import compile_fx  # noqa: PLC0415

    with tracing(TracingContext(mode)), torch.no_grad(), _in_order(given[0].device):
        run: Any = compile_fx(traced, list(given))
    made: Callable[..., Sequence[Tensor]] = run
    return made


def _without_values(mode: Any, value: Tensor, index: int, *, varies: bool) -> Any:
    from torch._dynamo.source import ConstantSource  # noqa: PLC0415  # as above
    from torch.fx.experimental.symbolic_shapes import DimDynamic, StatelessSymbolicContext  # noqa: PLC0415

    # Dynamic, not duck: sizes that are alike in this run need not be so in the next.
    kind = DimDynamic.DYNAMIC if varies else DimDynamic.STATIC
    sizes: Any = StatelessSymbolicContext([kind] * value.ndim)
    return mode.from_tensor(value, source=ConstantSource(f"given_{index}"), symbolic_context=sizes)


@contextmanager
def _in_order(device: torch.device) -> Iterator[None]:
    """Let threads of a CPU add up in one order, so that a run that was stopped comes to the same bits; else no change.

    The compiler would have them add to one place, such as a token's embedding, as each gets there.
    """
    settings: Any = deterministic  # the module has a class of its own, which its types do not say
    before, filling = torch.are_deterministic_algorithms_enabled(), settings.fill_uninitialized_memory
    if device.type == "cpu":
        # Filling fresh memory is a part of it that changes no result here, and takes time.
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
