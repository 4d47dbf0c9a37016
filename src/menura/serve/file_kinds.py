"""What a file that was sent is: a persona's package, a folder of peft in a zip, a chat or a card, or refused."""

import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import Literal

from menura.artefacts.exchange.peft_folder import CONFIG, WEIGHTS
from menura.artefacts.persona_artefact import ABOUT, LARGEST, LARGEST_TEXT
from menura.corpus.atomic_files import reporting
from menura.errors import DataError, UnsafeError

FileKind = Literal["package", "peft", "chat"]
PICKLES = frozenset(
    [".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".npy", ".npz", ".joblib", ".dill", ".cloudpickle", ".model"]
)
STARTS = (b"\x80", b"\x93NUMPY")  # of pickles from protocol 2 on, and of arrays that may hold one
TEXT_PICKLE_START = re.compile(rb"\(?(?:c[\w.]+\n[\w.]+\n|[dl]p\d+\n|i[\w.]+\n[\w.]+\n|\(dp\d*\n)")
TAR_MARK, TAR_AT = b"ustar", 257
HEAD = 512
ZIP = b"PK"


def kind_of(path: Path, filename: str) -> FileKind:
    """Return what a file is; UnsafeError ``unsafe_format`` for pickles, whatever they are called.

    Nothing of it is unpacked or run. What is neither a package nor peft's is read as a chat or a card, which says what
    is wrong with it.
    """
    with reporting(path), path.open("rb") as file:
        head = file.read(HEAD)
    _check_names([filename])
    tar = head[TAR_AT : TAR_AT + len(TAR_MARK)] == TAR_MARK
    if head.startswith(STARTS) or TEXT_PICKLE_START.match(head) or tar:
        raise _pickle(filename)
    if not head.startswith(ZIP):
        return "chat"
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError):
        return "chat"  # its reader says what is damaged
    if ABOUT in names:
        return "package"
    _check_names(names)
    return "peft" if any(PurePosixPath(name).name == CONFIG for name in names) else "chat"


def unpack_peft(path: Path, folder: Path) -> None:
    """Write the two files of peft's folder out of a zip, and nothing else of it.

    Raises DataError where one is missing or stands there twice, UnsafeError where one is too large.
    """
    folder.mkdir(mode=0o700)
    try:
        with reporting(folder), zipfile.ZipFile(path) as archive:
            for name, limit in ((CONFIG, LARGEST_TEXT), (WEIGHTS, LARGEST)):
                found = [one for one in archive.infolist() if PurePosixPath(one.filename).name == name]
                if len(found) != 1:
                    raise DataError(f"zip has {len(found)} files {name}, one wanted", code="adapter_format")
                with archive.open(found[0]) as member, (folder / name).open("wb") as file:
                    left = limit
                    while piece := member.read(1 << 20):
                        left -= len(piece)
                        if left < 0:
                            raise UnsafeError(f"{name} is larger than {limit:,} bytes", code="card_bomb")
                        file.write(piece)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError) as error:
        raise DataError("the zip is damaged or packed in a way that is not read", code="adapter_format") from error


def _check_names(names: list[str]) -> None:
    """Raise UnsafeError for a name that pickles have, be it of the file or of what a zip holds."""
    for name in names:
        if PurePosixPath(name).suffix.lower() in PICKLES:
            raise _pickle(name)


def _pickle(name: str) -> UnsafeError:
    hint = "convert it to safetensors in a place you trust"
    return UnsafeError("pickle files can run code and are not read", place=PurePosixPath(name).name, hint=hint)
