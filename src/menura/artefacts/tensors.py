"""Named tensors as safetensors files, validated when read."""

import hashlib
import json
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from menura.adaptation.bitmask import packed, unpacked
from menura.artefacts.files import write_bytes
from menura.corpus.atomic_files import reporting
from menura.errors import DataError, MismatchError, NumericalError, UnsafeError, number_of

# Bytes. LoRA on seven maps of each of a hundred layers takes a fifth of it, and the whole is parsed in a second.
HEADER_LIMIT = 1 << 20


def save(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    # With metadata, even empty, but no tensor, safetensors 0.8 writes a header that it cannot read.
    write_bytes(path, to_bytes(plain, metadata=dict(metadata) if metadata else None))


def load(path: Path, *, header_limit: int = HEADER_LIMIT) -> dict[str, Tensor]:
    """Read tensors; DataError if the file is incomplete or its header too long, UnsafeError for a pickle or a zip."""
    with reporting(path), path.open("rb") as file:
        _header_length(file.read(9), path.stat().st_size, path, header_limit)  # before the rest is read
        file.seek(0)
        content = file.read()
    return parsed(content, path, header_limit=header_limit)


def parsed(content: bytes, path: Path, *, header_limit: int = HEADER_LIMIT) -> dict[str, Tensor]:
    """Read tensors from bytes; ``path`` is the file that errors name."""
    length = _header_length(content[:9], len(content), path, header_limit)
    _header(content[8 : 8 + length], path)
    try:
        return dict(from_bytes(content))
    except (SafetensorError, ValueError) as error:
        raise DataError(f"damaged: {str(error)[:80]}", place=str(path), code="delta_format") from error


def _header_length(beginning: bytes, size: int, path: Path, limit: int = HEADER_LIMIT) -> int:
    """Return the header's length in bytes, from a file's first nine bytes and its size."""
    length = struct.unpack("<Q", beginning[:8])[0] if size > 8 else -1
    if 0 < length <= min(limit, size - 8) and beginning[8:9] == b"{":
        return int(length)
    if beginning[:2] == b"PK" or beginning[:1] == b"\x80":
        raise UnsafeError("pickle files can run code and are not read", place=str(path))
    too_long = limit < length <= size - 8
    found = (
        f"a header of {length:,} bytes, limit {limit:,}" if too_long else f"not a whole safetensors file ({size} bytes)"
    )
    raise DataError(found, place=str(path), code="delta_format", hint="write it again")


def _header(header: bytes, path: Path) -> dict[str, Any]:
    """Read the header, and refuse what safetensors allows: the same name twice."""

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs]
        if len(set(names)) < len(names):
            raise DataError("a name stands twice in the header", place=str(path), code="delta_format")
        return dict(pairs)

    try:
        return dict(json.loads(header, object_pairs_hook=once))
    except (ValueError, RecursionError) as error:
        raise DataError("the header is not valid JSON", place=str(path), code="delta_format") from error


def check_same_shape(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], what: str) -> None:
    """Raise MismatchError unless names and shapes are exactly as wanted, NumericalError unless all is finite."""
    missing, extra = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or extra:
        named = (("missing", missing), ("unknown", extra))
        first = ", ".join(f"{word} {names[0]}" for word, names in named if names)
        raise MismatchError(f"{what}: {len(missing)} tensors missing, {len(extra)} unknown ({first})")
    for name, tensor in sorted(found.items()):
        if tensor.shape != wanted[name].shape:
            raise MismatchError(f"{what}: {name} is {tuple(tensor.shape)}, wanted {tuple(wanted[name].shape)}")
    # A sum is finite only if all its numbers are, and takes a tenth of the time.
    if not found or bool(torch.stack([tensor.sum().double() for tensor in found.values()]).isfinite().all()):
        return
    for name, tensor in sorted(found.items()):
        bad = int((~torch.isfinite(tensor)).sum())
        if bad:
            raise NumericalError(f"{what}: {number_of(bad, 'value is', 'values are')} not finite in {name}")


def metadata(path: Path) -> dict[str, str]:
    """Return the metadata in a file's header."""
    with reporting(path), path.open("rb") as file:
        beginning = file.read(9)
        length = _header_length(beginning, path.stat().st_size, path)
        header = beginning[8:] + file.read(length - 1)
    return dict(_header(header, path).get("__metadata__") or {})


def content_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of names, shapes, dtypes and values, independent of the file."""
    summed = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        summed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        summed.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return summed.hexdigest()


# Sparse tensors: a bitmask of the nonzero places, and their values. A persona with a mask (CMAML) then takes one bit
# for each weight of a private layer, and a number for each kept one.

LIVE, VALUES, SHAPE = "#live", "#values", "#shape"  # suffixes of a tensor's name
OVERHEAD = 256  # bytes of three entries in a file's header


def without_zeros(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by name; those with many exact zeros are stored in three parts."""
    made = {}
    for name, tensor in tensors.items():
        live = tensor != 0
        saved = int((~live).sum()) * tensor.element_size() - tensor.numel() // 8 - OVERHEAD
        if saved <= 0:
            made[name] = tensor
            continue
        parts = {LIVE: packed(live), VALUES: tensor[live], SHAPE: torch.tensor(tensor.shape)}
        made.update({name + end: part for end, part in parts.items()})
    return made


def with_zeros(found: Mapping[str, Tensor], source: Path, *, largest: int) -> dict[str, Tensor]:
    """Return the tensors from which ``without_zeros`` made its parts.

    Raises DataError if the parts do not fit one another, UnsafeError for a tensor of more than ``largest`` bytes; both
    name ``source``, the file they are from.
    """
    made = {}
    for name, tensor in found.items():
        if name.endswith(SHAPE):
            name = name.removesuffix(SHAPE)
            made[name] = _whole(name, found, source, largest)
        elif not name.endswith((LIVE, VALUES)):
            made[name] = tensor
    return made


def _whole(name: str, found: Mapping[str, Tensor], source: Path, largest: int) -> Tensor:
    live, values, shape = (found.get(name + end, torch.empty(0)) for end in (LIVE, VALUES, SHAPE))
    sides = shape.tolist() if shape.dtype == torch.int64 and shape.dim() == 1 else [-1]
    size = prod(sides)
    if size * values.element_size() > largest:
        raise UnsafeError(f"{name} unpacks to more than {largest} bytes", place=str(source), code="card_bomb")
    bits = unpacked(live) if live.dtype == torch.uint8 and live.dim() == 1 else live
    if (
        min(sides, default=1) < 0
        or len(live) != -(-size // 8)
        or int(bits.sum()) != values.numel()
        or bits[size:].any()
    ):
        raise DataError(f"{name}: its parts do not fit one another", place=str(source), code="delta_format")
    whole = torch.zeros(size, dtype=values.dtype)
    whole[bits[:size].bool()] = values
    return whole.view(sides)
