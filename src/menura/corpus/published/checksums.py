"""The files that are given are compared with the published ones."""

import gzip
import hashlib
import lzma
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from menura.corpus.atomic_files import reporting
from menura.corpus.published.records import PublishedCorpus, PublishedFile
from menura.corpus.source import MIB, bare_name
from menura.errors import Problem


@dataclass(frozen=True)
class ChecksumComparison:
    """A file with the hash of what it holds, and the published file of its name."""

    path: Path
    sha256: str
    published: PublishedFile

    @property
    def same(self) -> bool:
        """Whether it is the published file."""
        return self.sha256 == self.published.sha256

    def __str__(self) -> str:
        if self.same:
            return f"{self.path.name}: SHA-256 as published ({self.published.checksum_from})"
        message = (
            f"not the file that was published but another version: SHA-256 {self.sha256}, published "
            f"{self.published.sha256} ({self.published.checksum_from})"
        )
        return str(Problem("another_version", message, str(self.path), level="warn"))


def compared(paths: Iterable[Path], corpus: PublishedCorpus) -> Iterator[ChecksumComparison]:
    """Yield a comparison for each file of a published one's name whose checksum is known; it may be packed here."""
    for path in dict.fromkeys(paths):
        for name in dict.fromkeys((path.name, bare_name(path))):
            published = corpus.file(name)
            if published and published.sha256 and path.is_file():
                yield ChecksumComparison(path, _sha256_of(path, unpacked=name != path.name), published)
                break


def _sha256_of(path: Path, *, unpacked: bool) -> str:
    digest = hashlib.sha256()
    with reporting(path), _opened(path, unpacked=unpacked) as file:
        while chunk := file.read(MIB):
            digest.update(chunk)
    return digest.hexdigest()


def _opened(path: Path, *, unpacked: bool) -> IO[bytes]:
    if not unpacked:
        return path.open("rb")
    return cast(IO[bytes], gzip.open(path) if path.suffix == ".gz" else lzma.open(path))
