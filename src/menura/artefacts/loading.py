"""Loaded models, and loading saved weights into a model; ``loaders`` has one module per family."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from menura.adaptation.inner_step import restore_inner_lrs
from menura.adaptation.weights import trainable_parameters
from menura.artefacts import tensors
from menura.artefacts.bases.dtype import Dtype
from menura.artefacts.bases.record import Base
from menura.artefacts.earlier_names import renamed_weights
from menura.artefacts.runs import run_path
from menura.batches.encode import Encoder
from menura.batches.tokenizer import Tokenizer
from menura.errors import DataError, StorageError
from menura.models.catalogue import ModelSettings
from menura.models.dialogue_model import DialogueModel

# A model's name: the default base with its default adapter checkpoint. As ``init_from``: that of the base that is set.
DEFAULT = "shipped"


class Vocabulary(Protocol):
    """A vocabulary learnt from the training split, saved with the run."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The vocabulary as a tokenizer."""

    @property
    def sha256(self) -> str:
        """The hash that personas are bound to."""

    def write(self, folder: Path) -> None:
        """Write it into a run's folder, atomically."""


@dataclass(frozen=True)
class LoadedModel:
    """A model on its device, and all that is needed to use it.

    ``encoder`` turns dialogues into token ids (no network). ``base`` is the record of what the model was built on, a
    network or a vocabulary: its name, checksums, number of parameters. ``init_about`` is the metadata of the initial
    weights: the data and split they were trained on. ``notes`` are what a user should know of how the base is used.
    """

    model: DialogueModel[Any]
    encoder: Encoder
    base: Base
    config: ModelSettings
    init_sha256: str = ""
    init_about: Mapping[str, str] = field(default_factory=dict)
    vocabulary: Vocabulary | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded: ``seed`` of fresh weights; ``vocabulary`` if there is no run to read one from.

    ``dtype`` is the number type of a causal language model's base, which ``auto`` chooses for ``device``; adapters are
    always float32.
    """

    seed: int = 0
    offline: bool = False
    say: Callable[[str], None] = lambda line: None
    vocabulary: Vocabulary | None = None
    dtype: Dtype = "float32"
    device: str = "cpu"


def run_weights(settings: ModelSettings) -> Path:
    """Return the file of weights that ``init_from`` names, a run's folder or a file; StorageError if there is none."""
    path = run_path(settings.init_from)
    path = path / "best.safetensors" if path.is_dir() else path
    if not path.exists():
        hint = "train that run first, or --set model.init_from=FOLDER to begin at another one"
        raise StorageError(f"model.init_from: {path}: No such file or directory", hint=hint, code="missing")
    return path


def with_weights(loaded: LoadedModel, path: Path, fresh: Sequence[str] = ()) -> LoadedModel:
    """Return a model with the weights of a file.

    Parameters whose name contains one of ``fresh`` may be missing in the file; they keep their initial values.
    """
    sha256 = put_weights(loaded.model, path, fresh)
    return replace(loaded, init_sha256=sha256, init_about=tensors.metadata(path))


def put_weights(model: DialogueModel[Any], path: Path, fresh: Sequence[str] = ()) -> str:
    """Load a file's values into all trainable parameters; return its content hash. ``fresh`` as in ``with_weights``."""
    found = tensors.load(path)
    if not found:
        raise DataError("no weights in it", place=str(path), code="delta_format")
    read = renamed_weights(found)
    restore_inner_lrs(model, read)
    wanted = {
        name: value
        for name, value in trainable_parameters(model).items()
        if name in read or not any(part in name for part in fresh)
    }
    tensors.check_same_shape(read, wanted, f"start {path.name}")
    with torch.no_grad():
        for name, value in read.items():
            wanted[name].copy_(value)
    return tensors.content_sha256(found)
