"""What is known of a published corpus: where it is, under which licence, its files, and what it counts."""

from dataclasses import dataclass
from typing import Literal

Access = Literal["download", "packaged", "none"]


@dataclass(frozen=True)
class PublishedFile:
    """One file as its publisher gives it.

    ``size`` is in bytes, ``sha256`` in hex, ``checksum_from`` says who published them or where they were measured; 0
    and empty where nobody who publishes the file says them.
    """

    name: str
    url: str = ""
    size: int = 0
    sha256: str = ""
    checksum_from: str = ""


@dataclass(frozen=True)
class PublishedSplit:
    """A split of a corpus.

    ``files`` are taken out of an archive: patterns of the last components of a path, as of ``PurePath.match``. A
    dialogue is of the split one of whose ``marks`` its file's name contains, or else its own id begins with.
    ``dialogues`` and ``turns`` are as published; 0 where they are not, or are counted another way than here. One that
    is ``of_another_version`` is not missed where the others are.
    """

    name: str
    files: tuple[str, ...]
    marks: tuple[str, ...]
    dialogues: int = 0
    turns: int = 0
    of_another_version: bool = False


@dataclass(frozen=True)
class Joined:
    """Members of an archive that become the lines of one file: ``members`` is their pattern, ``name`` the file's."""

    members: str
    name: str


@dataclass(frozen=True)
class PublishedCorpus:
    """One corpus that the papers or the recipes use.

    ``name`` is what recipes call it, ``given`` the files of ``menura data add NAME FILES``, ``then`` a line to type
    after that. ``formats`` are those of its files. ``beside`` are members of an archive that its splits are not read
    without. ``unit`` is what is counted.
    """

    name: str
    about: str
    used_by: str
    source: str
    licence: str
    splits: tuple[PublishedSplit, ...] = ()
    counts_from: str = ""
    files: tuple[PublishedFile, ...] = ()
    given: str = ""
    formats: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    joined: Joined | None = None
    unit: Literal["dialogue", "pair"] = "dialogue"
    access: Access = "download"
    then: str = ""
    note: str = ""

    @property
    def command(self) -> str:
        """What is typed once the files are there; empty where there is nothing to add."""
        return f"menura data add {self.name} {self.given}" if self.given else ""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The patterns of all members that are taken out of an archive."""
        joined = (self.joined.members,) if self.joined else ()
        return (*(pattern for split in self.splits for pattern in split.files), *self.beside, *joined)

    def file(self, name: str) -> PublishedFile | None:
        """Return the published file of this name, None if there is none."""
        return next((file for file in self.files if file.name == name), None)
