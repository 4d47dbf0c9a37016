"""The number type that a base computes in, and whether it fits into memory."""

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import torch

from menura.errors import ConfigError, NumericalError

Dtype = Literal["auto", "float32", "bfloat16"]
DTYPES: dict[str, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
HALF = (torch.float16, torch.bfloat16)
SLOW = "this processor has no instructions for bfloat16"
MEMORY, GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def chosen_dtype(
    dtype: Dtype, parameters: int, stored: torch.dtype, device: str, say: Callable[[str], None]
) -> torch.dtype:
    """Return the type to compute in; ``auto`` is float32 unless that is wasteful or too large, which is said.

    bfloat16 serves weights stored in 16 bits on a CUDA device, and those that would fill over half of the free memory
    in float32. A processor without instructions for it takes many times as long: ``auto`` then stays with float32 where
    the weights fit, and where bfloat16 is asked for this is said. Raises ConfigError for a name that is none,
    NumericalError where the weights do not fit at all.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise ConfigError(f"dtype {dtype!r}: auto, float32 or bfloat16 wanted", hint="--dtype auto")
    free = free_memory(device)
    chosen = DTYPES.get(dtype, torch.float32)
    if dtype == "auto" and device.startswith("cuda") and stored in HALF:
        chosen = torch.bfloat16
        say("dtype  bfloat16: the weights are stored in 16 bits (--dtype float32 for more exact numbers)")
    elif dtype == "auto" and free is not None and 4 * parameters > free / 2:
        needed_in_full = f"in float32 {gigabytes(4 * parameters)} of {gigabytes(free)} free memory"
        if has_bfloat16(device) or 4 * parameters > free:
            chosen = torch.bfloat16
            say(f"dtype  bfloat16: {needed_in_full} were needed")
        else:
            say(f"dtype  float32: {SLOW}, so {needed_in_full} are taken (--dtype bfloat16 takes half)")
    elif dtype == "bfloat16" and not has_bfloat16(device):
        say(f"dtype  bfloat16: {SLOW}; it takes many times as long as --dtype float32")
    needed = parameters * chosen.itemsize
    if free is not None and needed > free:
        hint = "--dtype bfloat16" if chosen == torch.float32 and needed / 2 < free else "menura base list"
        message = f"the weights take {gigabytes(needed)} in {_name(chosen)}, {gigabytes(free)} of memory are free"
        raise NumericalError(message, hint=hint, code="out_of_memory")
    return chosen


def has_bfloat16(device: str = "cpu") -> bool:
    """Tell whether a device has instructions for bfloat16; True where the system does not tell."""
    if not device.startswith("cpu") or platform.machine() not in ("x86_64", "AMD64"):
        return True
    asks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    known = [bool(ask()) for ask in asks if ask is not None]
    return any(known) or not known


def free_memory(device: str = "cpu") -> int | None:
    """Return the bytes that can be allocated on a device, None where the system does not tell."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(torch.device(device))[0]
    try:
        lines = MEMORY.read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return None
    try:  # a container may be allowed less
        limit, used = (int((GROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # "max" is no number: no limit
        return free
    return min(free, max(limit - used, 0))


def gigabytes(count: float) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
