"""A Python package that holds data becomes the place of one of its files; its code is never run."""

from importlib import metadata
from pathlib import Path

from menura.errors import StorageError


def file_of(package: str, file: str, hint: str = "") -> Path:
    """Return where a file of a package lies, ``file`` as from the folder of all packages.

    Raises StorageError where the package is not installed, with the ``hint`` (what to type), or lacks the file.
    """
    try:
        path = Path(str(metadata.distribution(package).locate_file(file)))
    except metadata.PackageNotFoundError as error:
        raise StorageError(f"package {package} is not installed", hint=hint or f"pip install {package}") from error
    if not path.is_file():
        raise StorageError(f"package {package} lacks {file}", hint=f"pip install --force-reinstall {package}")
    return path
