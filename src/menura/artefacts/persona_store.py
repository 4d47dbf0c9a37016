"""The personas of a workspace, by name."""

import re
from difflib import get_close_matches
from pathlib import Path

from menura.artefacts.files import home
from menura.artefacts.persona_artefact import PersonaArtefact, read
from menura.corpus.whole_file import reporting
from menura.errors import ConfigError, shown

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
SUFFIX = ".persona"


def path_of(name: str) -> Path:
    """Return the path of a persona, existing or not; ConfigError for a name that is no plain file name."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"persona name {shown(name)}: letters, digits, '-' and '_' only, at most 64, a letter or digit first",
            code="bad_name",
        )
    return home() / "personas" / f"{name}{SUFFIX}"


def names() -> list[str]:
    """Return the names of all personas."""
    return sorted(path.stem for path in (home() / "personas").glob(f"*{SUFFIX}"))


def load(name: str) -> PersonaArtefact:
    """Read a persona of the workspace, or the package at a path; ConfigError with the nearest name if there is none."""
    if name.endswith(SUFFIX) and Path(name).exists():
        return read(Path(name))
    path = path_of(name)
    if not path.exists():
        near = get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else "menura persona list; menura adapt NAME FILES makes one"
        raise ConfigError(f"unknown persona {shown(name)}", hint=hint, code="model_not_found")
    return read(path)


def save(artefact: PersonaArtefact) -> Path:
    """Write a persona to the workspace, atomically replacing one of the same name."""
    path = path_of(artefact.name)
    artefact.write(path)
    return path


def remove(name: str) -> None:
    """Delete a persona, if it exists."""
    path = path_of(name)
    with reporting(path):
        path.unlink(missing_ok=True)
