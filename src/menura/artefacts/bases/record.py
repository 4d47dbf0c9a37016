"""The record of a base: its source, its hashes, its number of parameters."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from menura.artefacts.bases.file_hashes import joint_sha256_of, large_sha256_of
from menura.artefacts.files import read_json
from menura.errors import DataError

if TYPE_CHECKING:
    from menura.artefacts.bases.files import BaseFiles

RECORD = "base.json"  # beside a base that was installed into the workspace


@dataclass(frozen=True)
class Base:
    """A base model on disk; ``sha256`` identifies its weights and vocabulary, wherever they are."""

    name: str
    source: str
    licence: str
    parameters: int
    weights_sha256: str  # of model.safetensors or the GGUF file; of shards, that of their hashes
    tokens_sha256: str  # of tokenizer.json, or the file that stands for it; of a GGUF, its own

    @property
    def sha256(self) -> str:
        """The hash that personas are bound to."""
        return hashlib.sha256(f"{self.weights_sha256} {self.tokens_sha256}".encode()).hexdigest()


def record_of(files: "BaseFiles", name: str, source: str, licence: str) -> Base:
    """Return the record of a base that was not installed; hashing large files takes time once."""
    weights, tokens = joint_sha256_of(files.weights), large_sha256_of(files.vocabulary)
    return Base(name, source, licence, files.parameters, weights, tokens)


def read_record(folder: Path) -> Base:
    """Return the record of an installed base; DataError if it is damaged."""
    try:
        return Base(**read_json(folder / RECORD))
    except TypeError as error:
        hint = f"delete {folder} and pull it again"
        message = "damaged: not a base's description"
        raise DataError(message, place=str(folder / RECORD), hint=hint, code="damaged") from error


def check_unchanged(files: "BaseFiles", base: Base) -> None:
    """Raise DataError if weights or vocabulary are not those that were installed."""
    now = record_of(files, base.name, base.source, base.licence)
    for file, sha256, expected in (
        (files.weights[0], now.weights_sha256, base.weights_sha256),
        (files.vocabulary, now.tokens_sha256, base.tokens_sha256),
    ):
        if sha256 != expected:
            raise DataError(
                f"base {base.name!r}: {file.name} is not what was installed (checksum)",
                place=str(file),
                hint=f"delete {files.folder} and run: menura base pull {base.name}",
                code="damaged",
            )
