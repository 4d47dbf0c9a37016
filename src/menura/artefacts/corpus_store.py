"""Corpora that Menura may not ship become names: files a user has, copied into the workspace once."""

from collections.abc import Sequence
from pathlib import Path

from menura.artefacts.files import home, new_folder
from menura.corpus import catalogue
from menura.corpus.whole_file import reporting
from menura.errors import ConfigError, DataError, shown


def folder_of(name: str) -> Path:
    """Return where the corpus of this name lies, or would lie."""
    return home() / "corpora" / name


def add(name: str, files: Sequence[Path], format: str | None = None) -> Path:
    """Copy files, and those they are not read without, into the workspace; what stood there is replaced as a whole."""
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise ConfigError(f"corpus name {shown(name)}: letters, digits, - and _ only")
    with new_folder(folder_of(name)) as made:
        for file in catalogue.whole(files, format):
            with reporting(file):
                (made / file.name).write_bytes(file.read_bytes())
    return folder_of(name)


def files_of(corpus: str) -> list[Path]:
    """Return the files a corpus setting means: a name of the workspace, or paths, comma-separated.

    Raises DataError for a name that was never added, saying how to add it.
    """
    if folder_of(corpus).is_dir():
        return sorted(path for path in folder_of(corpus).iterdir() if path.is_file())
    paths = [Path(part.strip()).expanduser() for part in corpus.split(",")]
    if len(paths) == 1 and not paths[0].exists() and not paths[0].suffix:
        raise DataError(
            f"corpus {shown(corpus)} is neither a file nor a corpus of this workspace",
            hint=f"menura data add {corpus} FILE …, or --set data.corpus=FILE",
            code="no_corpus",
        )
    return paths
