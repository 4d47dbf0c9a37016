"""Where the numbers come from."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

VECTORS = frozenset({"avx2", "fma", "f16c", "avx_vnni"})
PACKAGES = ("torch", "transformers", "peft", "higher")


def described() -> dict[str, object]:
    """Return processor, threads, how busy the machine is, and versions."""
    return {
        "processor": _processor(),
        "flags": _flags(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "learn2learn": "0.2.0",
    }


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


def _flags() -> list[str]:
    """Return the flags of the processor that say how it computes with vectors and with 16 bits."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    named = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return sorted(flag for flag in named if flag in VECTORS or flag.startswith(("avx512", "amx")))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
