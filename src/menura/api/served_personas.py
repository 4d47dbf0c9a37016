"""A persona of the workspace becomes the peft folder that an engine is handed."""

import hashlib
import shutil
from pathlib import Path

from menura import registry
from menura.artefacts import persona_store
from menura.artefacts.bases import base as bases
from menura.artefacts.exchange.lora import check_can_leave, persona_lora
from menura.artefacts.exchange.peft_folder import FILES, write_peft
from menura.artefacts.files import home, sha256_of
from menura.corpus.atomic_files import reporting
from menura.errors import ConfigError

CACHE = "served"  # of the workspace; may be deleted while no engine runs
ANY_RANK = 1 << 20  # the engine says itself what it takes


def served_folder(base_name: str, name: str) -> Path | None:
    """Return the folder of a persona for an engine, written unless it is there; None if there is no such persona.

    ``base_name`` is the folder or hub id that the engine loaded. Its path holds a hash of the persona, because engines
    keep what they computed for a path. Raises ConfigError for a persona whose weights no engine takes, MismatchError
    for one of another base.
    """
    try:
        path = persona_store.path_of(name)
    except ConfigError:  # no name of ours, so another resolver's
        return None
    if not path.exists():
        return None
    version = hashlib.sha256(f"{sha256_of(path)} {base_name}".encode()).hexdigest()[:16]
    folder = home() / CACHE / name / version
    if folder.is_dir() and {file.name for file in folder.iterdir()} == FILES:
        return folder
    persona = persona_store.load(name)
    settings = registry.settings_from(persona.model)
    check_can_leave(persona, settings, "vllm", ANY_RANK)
    record = bases.pull(base_name, offline=True)
    write_peft(folder, persona_lora(persona, settings, record, bases.without_weights(base_name)), base_name)
    return folder


def remove_served(name: str) -> None:
    """Delete what was written of a persona for engines, of all its versions."""
    persona_store.path_of(name)
    folder = home() / CACHE / name
    with reporting(folder):
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
