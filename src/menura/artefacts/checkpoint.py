"""Checkpoints: a training state on disk, complete, or ignored with a warning that names it."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from menura.artefacts.earlier_names import renamed_weights
from menura.artefacts.files import new_folder, read_json, sha256_of, write_json
from menura.artefacts.tensors import load, save
from menura.errors import DataError, MenuraError

GENERATIONS = 2  # checkpoints kept, so that training can resume if the newest is damaged
MANIFEST = "manifest.json"
HEADER_LIMIT = 16 << 20  # bytes; an optimiser keeps some tensors for each of a network's hundreds


@dataclass(frozen=True)
class Checkpoint:
    """The training state after ``step`` outer steps."""

    step: int
    weights: Mapping[str, Tensor]  # the trained parameters by name
    optimizer: Mapping[str, Tensor]  # the optimiser's state tensors, as ``optimizer_state`` names them
    state: Mapping[str, Any]  # what else training goes on with, as JSON: the best loss so far, the plateau's counts


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, its manifest last, then delete all but the newest two."""
    path = folder / f"step_{checkpoint.step:06d}"
    with new_folder(path) as made:
        save(made / "model.safetensors", checkpoint.weights)
        save(made / "optimizer.safetensors", checkpoint.optimizer)
        write_json(made / "state.json", {"step": checkpoint.step, **checkpoint.state})
        files = ("model.safetensors", "optimizer.safetensors", "state.json")
        write_json(made / MANIFEST, {name: sha256_of(made / name) for name in files})
    half_written = folder.glob(".step_*.part")  # left by a kill; the run's lock excludes other writers
    for old in [*_generations(folder)[GENERATIONS:], *half_written]:
        shutil.rmtree(old)
    return path


def newest(folder: Path, warn: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest complete checkpoint, ``None`` if there is none at all.

    A damaged one is reported to ``warn`` and skipped; DataError if all are damaged.
    """
    generations = _generations(folder)
    for path in generations:
        try:
            return read(path)
        except MenuraError as error:
            warn(f"{path.name} is damaged ({error.problems[0].message}); trying the one before")
    if generations:
        raise DataError("no checkpoint is whole", place=str(folder), hint="start anew with --fresh", code="damaged")
    return None


def read(path: Path) -> Checkpoint:
    """Read one checkpoint, every file checked against the manifest."""
    manifest = read_json(path / MANIFEST)
    if not isinstance(manifest, dict) or set(manifest) != {"model.safetensors", "optimizer.safetensors", "state.json"}:
        raise DataError("the manifest is not one of ours", place=str(path), code="damaged")
    for name, expected in manifest.items():
        if sha256_of(path / name) != expected:
            raise DataError(f"{name}: checksum", place=str(path), code="damaged")
    state = read_json(path / "state.json")
    step = state.pop("step")
    weights, optimizer = (
        load(path / f"{name}.safetensors", header_limit=HEADER_LIMIT) for name in ("model", "optimizer")
    )
    return Checkpoint(step, renamed_weights(weights), renamed_weights(optimizer), state)


def _generations(folder: Path) -> list[Path]:
    # By length first: step_1000000 comes after step_999999.
    return sorted((p for p in folder.glob("step_*") if p.is_dir()), key=lambda p: (len(p.name), p.name), reverse=True)


def optimizer_state(optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an optimiser's state tensors by ``parameter's name/torch's key``, such as ``lm.bias/exp_avg``."""
    names = {id(value): name for name, value in weights.items()}
    return {
        f"{names[id(parameter)]}/{kind}": torch.as_tensor(value)
        for parameter, kinds in optimizer.state.items()
        for kind, value in kinds.items()
    }


def put_optimizer_state(
    optimizer: torch.optim.Optimizer, weights: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> None:
    """Load what ``optimizer_state`` returned into an optimiser."""
    for key, value in state.items():
        name, _, kind = key.rpartition("/")
        weight = weights[name]
        # Adam counts its steps on the CPU wherever the weights are.
        optimizer.state[weight][kind] = value if kind == "step" else value.to(weight.device)
