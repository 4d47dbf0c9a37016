"""Corpora that Menura may not distribute: a user's files, copied into the workspace once under a name."""

from collections.abc import Sequence
from pathlib import Path

from menura.artefacts.files import home, new_folder
from menura.corpus import chitchat, inputs
from menura.corpus.atomic_files import reporting
from menura.corpus.published.catalogue import CORPORA
from menura.errors import ConfigError, DataError, Problem, shown

PACKAGED = "chitchat"


def folder_of(name: str) -> Path:
    """Return the folder of the corpus of this name, existing or not."""
    return home() / "corpora" / name


def add(name: str, files: Sequence[Path], format: str | None = None, *, alone: bool = False) -> Path:
    """Copy files into the workspace; an earlier corpus of the name is replaced.

    The files that belong to them are copied too, but not for those that are read ``alone``, such as pairs of sentences.
    """
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise ConfigError(f"corpus name {shown(name)}: letters, digits, - and _ only")
    with new_folder(folder_of(name)) as made:
        for file in files if alone else inputs.whole(files, format):
            with reporting(file):
                (made / file.name).write_bytes(file.read_bytes())
    return folder_of(name)


def files_of(corpus: str) -> list[Path]:
    """Return the files a corpus setting means: ``chitchat`` (packaged), names of the workspace, paths; comma-separated.

    Raises DataError for every name that was never added, with the command to add it.
    """
    names = [part.strip() for part in corpus.split(",")]
    paths = {name: _stored(name) or [Path(name).expanduser()] for name in names}
    unknown = [name for name in names if not paths[name][0].exists() and not paths[name][0].suffix]
    if unknown:
        raise DataError.of([_never_added(name) for name in unknown])
    return [path for name in paths for path in paths[name]]


def _stored(name: str) -> list[Path]:
    """Return the files of the packaged corpus, or of one in the workspace; empty for an unknown name."""
    if name == PACKAGED:
        return [chitchat.installed()]
    folder = folder_of(name)
    return sorted(path for path in folder.iterdir() if path.is_file()) if name and folder.is_dir() else []


def _never_added(name: str) -> Problem:
    hint = f"menura data add {name} FILE …, or --set data.corpus=FILE"
    if name in CORPORA:
        hint = f"{hint}; menura data sources {name} shows where it is"
    return Problem("no_corpus", f"corpus {shown(name)} is neither a file nor a corpus of this workspace", hint=hint)
