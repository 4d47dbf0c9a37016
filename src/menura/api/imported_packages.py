"""A persona's package from elsewhere becomes a persona of this workspace, once it is known to fit a base here."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from menura import registry
from menura.adaptation.weights import adaptable_parameters, check_finite
from menura.artefacts import persona_artefact, persona_store
from menura.artefacts.bases.base import on_disk
from menura.artefacts.bases.catalogue import BASES
from menura.artefacts.bases.prepared import PREPARED
from menura.artefacts.loading import DEFAULT, LoadedModel, LoadOptions
from menura.errors import MismatchError, UnsafeError, shown

BESIDE_TENSORS = 64 << 20  # bytes of a package that may be more than its tensors in float32
STARTS = frozenset({"", DEFAULT, PREPARED})  # of adapter weights that need no file which the package names


def import_package(
    path: Path, name: str, *, offline: bool = False, say: Callable[[str], None] = lambda line: None
) -> persona_store.Saved:
    """Make a persona of a ``.persona`` or ``.charx`` file that has weights, and keep it under a name of its own.

    What it says of itself is believed of nothing: the base must be one that this machine knows by name, and names,
    shapes and number of the tensors those that this base gives. Raises ConfigError for a name that no persona may have,
    DataError for a damaged package, UnsafeError for one that is too large, MismatchError for another base, and
    NumericalError for weights that are not finite.
    """
    persona_store.check_new(name)
    settings = registry.settings_from(persona_artefact.read_about(path)["model"])
    _check_known(settings, path)
    loaded = registry.load_model(settings, LoadOptions(offline=offline, say=say))
    _check_size(path, loaded)
    artefact = replace(persona_artefact.read(path), name=name)
    artefact.check_fits(loaded)
    check_finite(artefact.weights, f"persona {name!r}", "take the package from where it was made")
    return persona_store.save(artefact)


def _check_known(settings: Any, path: Path) -> None:
    """Raise MismatchError for a base, or initial weights, that only a path or the network would have."""
    base, start = str(getattr(settings, "base", "")), getattr(settings, "init_from", "")
    known = {DEFAULT, *BASES, *(record.name for record in on_disk())}
    if base not in known or Path(base).expanduser().is_absolute():
        message = f"made for base {shown(base)}, which is not on this machine"
        raise MismatchError(message, place=path.name, hint="menura base list")
    if start not in STARTS:
        message = f"made for initial weights of its own ({shown(str(start))})"
        raise MismatchError(message, place=path.name, hint="adapt it again on a base of this machine")


def _check_size(path: Path, loaded: LoadedModel) -> None:
    """Raise UnsafeError where the weights are larger than those of this base can be, before they are read."""
    wanted = sum(4 * value.numel() for value in adaptable_parameters(loaded.model).values())
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > wanted + BESIDE_TENSORS:
        message = f"unpacks to {size:,} bytes, and a persona of this base has {wanted:,} at most"
        raise UnsafeError(message, place=path.name, code="card_bomb")
