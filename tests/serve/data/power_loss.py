"""What a disk may hold after a power cut, by the log of the calls that a process made.

What was synced is there. Of what was not, any part may be: of a file's content each block of 512 bytes or none, of a
folder's entries each creation, renaming and deletion or none (Pillai et al., 2014, ALICE).
"""

import os
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

CALLS = "openat,write,fsync,rename,unlink,unlinkat,mkdir"
STRACE = ("strace", "-qq", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-e", "signal=none")
LINE = re.compile(r"(\w+)\((.*)\)\s+= (-?\d+)")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
BLOCK = 512


@dataclass(frozen=True)
class Call:
    """One call that did something: its name, its texts, its first number and what it returned."""

    name: str
    texts: tuple[bytes, ...]
    number: int
    returned: int
    flags: str


def calls(log: str) -> Iterator[Call]:
    """Yield the calls of a log of strace that succeeded."""
    for line in log.splitlines():
        found = LINE.match(line)
        if found and int(found[3]) >= 0:
            texts = tuple(bytes.fromhex(text.replace("\\x", "")) for text in TEXT.findall(found[2]))
            first = found[2].partition(",")[0]
            yield Call(
                found[1], texts, int(first) if first.isdigit() else -1, int(found[3]), found[2].rpartition('"')[2]
            )


@dataclass
class HeldFile:
    """One file: what is on the disk for certain, and what was written since."""

    synced: bytes = b""
    written: bytes = b""

    def after_a_cut(self, chance: random.Random) -> bytes:
        """Return what may be left: of each block the synced content or the written one."""
        whole = bytearray(self.written)
        for start in range(0, len(whole), BLOCK):
            if chance.random() < 0.5:
                old = self.synced[start : start + BLOCK]
                end = min(start + BLOCK, len(whole))
                whole[start:end] = old.ljust(end - start, b"\0")[: end - start]
        return bytes(whole[: chance.randint(len(self.synced), len(whole))])


Entries = dict[str, HeldFile]
Change = tuple[str, HeldFile | None]  # an entry of a folder, and what it is now: a file, or none any more


@dataclass
class CutDisk:
    """The files below one folder, as the calls left them; ``folder`` is that of the personas, which are flat."""

    folder: str
    synced: Entries = field(default_factory=dict)
    now: Entries = field(default_factory=dict)
    unsynced: list[list[Change]] = field(default_factory=list)
    open_files: dict[int, HeldFile | str] = field(default_factory=dict)
    said: int = 0  # lines that the process has written to its output

    def take(self, call: Call) -> None:
        """Do what a call did."""
        paths = [os.fsdecode(text) for text in call.texts]
        if call.name == "openat":
            self.open_files[call.returned] = self._opened(paths[0], call.flags)
        elif call.name == "write" and call.number == 1:
            self.said += call.texts[0].count(b"\n")
        elif call.name == "write":
            file = self.open_files.get(call.number)
            if isinstance(file, HeldFile):
                file.written += call.texts[0][: call.returned]
        elif call.name == "fsync":
            self._sync(self.open_files.get(call.number))
        elif call.name == "rename" and self._is_ours(paths[1]):
            file = self.now[Path(paths[0]).name]
            self._change([(Path(paths[1]).name, file), (Path(paths[0]).name, None)])
        elif call.name in ("unlink", "unlinkat") and self._is_ours(paths[-1]):
            self._change([(Path(paths[-1]).name, None)])

    def _is_ours(self, path: str) -> bool:
        return os.path.dirname(path) == self.folder

    def _opened(self, path: str, flags: str) -> HeldFile | str:
        if not self._is_ours(path):
            return path
        name = Path(path).name
        if name not in self.now and "O_CREAT" in flags:
            self._change([(name, HeldFile())])
        return self.now.get(name, path)

    def _change(self, changes: list[Change]) -> None:
        self.unsynced.append(changes)
        _apply(self.now, changes)

    def _sync(self, what: HeldFile | str | None) -> None:
        if isinstance(what, HeldFile):
            what.synced = what.written
        elif what == self.folder:
            self.synced, self.unsynced = dict(self.now), []

    def after_a_cut(self, chance: random.Random) -> dict[str, bytes]:
        """Return the files that may be left, by name."""
        entries = dict(self.synced)
        for changes in self.unsynced:
            if chance.random() < 0.5:
                _apply(entries, changes)
        return {name: file.after_a_cut(chance) for name, file in entries.items()}


def _apply(entries: Entries, changes: list[Change]) -> None:
    for name, file in changes:
        if file is None:
            entries.pop(name, None)
        else:
            entries[name] = file
