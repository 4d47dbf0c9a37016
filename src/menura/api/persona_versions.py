"""The versions of a persona: what each was made from, and an earlier one becomes the current one again."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from menura.artefacts import persona_artefact, persona_store
from menura.artefacts.files import sha256_of
from menura.artefacts.persona_store import Saved, path_of
from menura.corpus.atomic_files import reporting
from menura.errors import ConfigError, MenuraError

ANOTHER_RECORD = "its record is not as Menura writes it"


def persona_history(name: str) -> list[dict[str, Any]]:
    """Return the versions of a persona as plain data, the oldest first; the last one is ``current``.

    Each has ``version``, ``made``, ``dialogues`` and ``replies`` learnt from in all, ``ppl_before`` and ``ppl_after``
    of the held-out dialogues (None where none were held out), ``from_version`` where it went on from one, and
    ``same_as``, the number of the oldest version with the same bytes, if there is an older one. Of a file that
    cannot be read there is ``error`` in place of what it says. Raises ConfigError if there is no persona of that name.
    """
    history: list[dict[str, Any]] = []
    first: dict[str, int] = {}
    for version, file in _files(name).items():
        path = path_of(file)
        with reporting(path):
            stat, digest = path.stat(), sha256_of(path)
        facts: dict[str, Any] = {"version": version, "current": file == name, "path": str(path)}
        facts["made"] = f"{datetime.fromtimestamp(stat.st_mtime):%Y-%m-%d %H:%M}"
        facts["same_as"] = first.get(digest)
        first.setdefault(digest, version)
        try:
            facts |= _made_of(persona_artefact.read(path).recipe)
        except MenuraError as error:
            facts["error"] = error.problems[0].message
        except (AttributeError, KeyError, TypeError, ValueError):
            facts["error"] = ANOTHER_RECORD
        history.append(facts)
    return history


def back(name: str, version: int | None = None, *, dry_run: bool = False) -> tuple[int, Saved]:
    """Make an earlier version the current one, the one before it where none is given; return its number, and where.

    The one that was current stays, as an earlier version, so that going back is taken back in the same way. With
    ``dry_run`` nothing is written. Raises ConfigError, with the versions that there are, for one that is not there, and
    DataError for one that is damaged.
    """
    files = _files(name)
    current = max(files)
    if len(files) == 1:
        message = f"persona {name} has no version but {current}, so there is none to go back to"
        raise ConfigError(message, hint=f"menura persona history {name}", code="unknown_version")
    wanted = sorted(files)[-2] if version is None else version
    if wanted not in files:
        message = f"persona {name} has no version {wanted}; there are {', '.join(map(str, files))}"
        raise ConfigError(message, hint=f"menura persona history {name}", code="unknown_version")
    if wanted == current or dry_run:
        return wanted, Saved(path_of(name), changed=False)
    artefact = persona_artefact.read(path_of(files[wanted]))
    return wanted, persona_store.save(artefact)


def _files(name: str) -> dict[int, str]:
    """Return the names of a persona's files by version, the oldest first; ConfigError if there is no such persona."""
    persona_store.check_there(name)
    earlier = {int(one.rpartition("@")[2]): one for one in persona_store.versions(name)}
    return {**earlier, persona_store.current_version(name): name}


def _made_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    held_out, more = recipe.get("held_out") or {}, recipe.get("more") or {}
    return {
        "dialogues": recipe.get("shots"),
        "replies": recipe.get("replies"),
        "ppl_before": held_out.get("ppl_before"),
        "ppl_after": held_out.get("ppl_after"),
        "from_version": more.get("from_version"),
        "added_dialogues": more.get("shots"),
    }
