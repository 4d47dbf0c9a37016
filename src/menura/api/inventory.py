"""Objects on this machine: bases, models by name, personas."""

import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menura.api.options import overridden
from menura.errors import ConfigError, DataError, MenuraError, number_of

if TYPE_CHECKING:
    from menura.artefacts.bases.base import Base
    from menura.evaluation.mask_similarity import Likeness
    from menura.models.catalogue import PartCount

PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "chitchat-dataset")


# Bases


def bases() -> list[dict[str, Any]]:
    """Return the bases known by name and those on this machine, as plain data; ``here`` says which are."""
    from menura.artefacts.bases import base
    from menura.artefacts.bases.catalogue import BASES, DEFAULT

    here = {record.name: record for record in base.on_disk()}
    known = [
        {
            "name": entry.name,
            "here": entry.name in here,
            "source": entry.source,
            "licence": entry.licence,
            "parameters": here[entry.name].parameters if entry.name in here else None,
            "about": entry.about,
            "known": True,
            "default": entry.name == DEFAULT,
        }
        for entry in BASES.values()
    ]
    others = [record for record in here.values() if record.name not in BASES]
    return known + [
        {
            "name": record.name,
            "here": True,
            "source": record.source,
            "licence": record.licence,
            "parameters": record.parameters,
            "about": "",
            "known": False,
            "default": False,
        }
        for record in others
    ]


def other_models() -> list[dict[str, Any]]:
    """Return the models that other programs keep here, as plain data: what to type, bytes, path, program.

    They are those of the hub's cache, Ollama and LM Studio; whether each serves as a base is not looked at.
    """
    from menura.artefacts.bases.local_models import local_models

    return [{**asdict(model), "path": str(model.path)} for model in local_models()]


def pull_base(
    name: str, *, accept_terms: bool = False, offline: bool = False, say: Callable[[str], None] = print
) -> "tuple[Base, Path]":
    """Fetch a base and convert it, once, its checksum checked; return what it is and its folder.

    Raises ConfigError for a base whose terms must be accepted, and are not: ``say`` is told them.
    """
    from menura.artefacts.bases import base

    return base.pull(name, accept_terms=accept_terms, offline=offline, say=say), base.folder_of(name)


def show_base(name: str) -> dict[str, Any]:
    """Return what a base on this machine is, its hash and its folder; ConfigError if it is not there."""
    from menura.artefacts.bases import base
    from menura.artefacts.bases.catalogue import BASES

    place = base.folder_of(name)
    if not (place.is_file() or place.is_dir()):
        fetched = name in BASES and BASES[name].source != "config"
        hint = f"menura base pull {name}" if fetched else "menura base list"
        raise ConfigError(f"base {name!r} is not on this machine", hint=hint, code="unknown_base")
    record = base.pull(name, offline=True)
    return {**asdict(record), "sha256": record.sha256, "folder": str(place)}


# Models


@dataclass(frozen=True)
class Counted:
    """A model's settings by path, and the parameter counts of its parts; ``under`` names the base network, if any."""

    settings: tuple[tuple[str, Any], ...]
    parts: "tuple[PartCount, ...]"
    under: str


def models() -> dict[str, str]:
    """Return all models by name, those of other packages last, each with what it is."""
    from menura import registry

    return {model.entry.name: model.entry.about for model in registry.models()}


def count_parameters(
    name: str, size: str | None = None, *, config: Path | None = None, assignments: Sequence[str] = ()
) -> Counted:
    """Return settings and parameters of a model of the catalogue, or of a recipe's.

    Raises ConfigError for a name that is none, and for a model over words of which it is not said how many there are.
    """
    import torch

    from menura import registry
    from menura.models.catalogue import build, counted
    from menura.training.overrides import paths_of

    settings, prefix = _asked(name, size, config, assignments)
    inputs = registry.model(settings.name).count_inputs(settings, prefix)
    with torch.device("meta"):
        parts = counted(build(inputs.network, settings, sizes=inputs.sizes))
    under = str(settings.base) if inputs.network is not None else ""
    return Counted(tuple(paths_of(settings)), tuple(parts), under)


def _asked(name: str, size: str | None, config: Path | None, assignments: Sequence[str]) -> tuple[Any, str]:
    """Return the settings of a model, or of a recipe's, and what stands before them in ``--set``."""
    from difflib import get_close_matches

    from menura import registry
    from menura.training.recipes import RECIPES, SIZED, recipe

    known = [model.entry.name for model in registry.models()]
    if name in known:
        if size:
            raise ConfigError(f"model {name!r} comes in no sizes", hint="leave --size away, or name a recipe")
        return overridden(registry.model(name).entry.settings(), config, assignments), ""
    if name.partition("@")[0] in {*RECIPES, *SIZED}:
        return overridden(recipe(name, size), config, assignments).model, "model."
    near = get_close_matches(name, [*known, *RECIPES, *SIZED], n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}, and recipes (menura config list)"
    raise ConfigError(f"unknown model {name!r}", hint=hint, code="unknown_model")


def mask_similarity(run: str) -> "Likeness":
    """Return statistics of the masks of a run's training personas, and whether similar personas have similar masks.

    Raises ConfigError for a run that has none.
    """
    from menura.adaptation.joint_inner_loop import LearnsJointly
    from menura.evaluation.mask_similarity import likeness
    from menura.evaluation.run import config_of
    from menura.training import persona_masks
    from menura.training.run_folder import Run
    from menura.training.run_setup import prepare

    config = config_of(run)
    prepared = prepare(config)
    if not isinstance(config.method, LearnsJointly):
        raise ConfigError(f"run {run} has no persona masks", hint="name the run of a cmaml recipe", code="no_masks")
    masks = persona_masks.read(Run(Path(run)), prepared.loaded.model)
    tasks = [task for task in prepared.split.splits["train"] if task.persona_id in masks]
    return likeness([masks[task.persona_id] for task in tasks], tasks)


# Personas, and the machine


def personas() -> list[dict[str, Any]]:
    """Return the personas of the workspace as plain data, in the order of their names.

    Each has ``name``, ``version`` (1 for the first), ``base``, ``speaker``, ``dialogues`` and ``replies`` learnt from
    (None where that was not noted), ``made`` and ``bytes``; of a file that cannot be read there is ``error`` in place
    of what it says.
    """
    from menura.artefacts import persona_store

    return [persona_row(name, version) for name, version in sorted(persona_store.current_versions().items())]


def persona_row(name: str, version: int) -> dict[str, Any]:
    """Return one persona as ``personas`` lists it; ``version`` is the number of its last one."""
    from menura.artefacts import persona_artefact, persona_store

    facts: dict[str, Any] = {"name": name, "version": version}
    path = persona_store.path_of(name)
    try:
        facts |= _made_of(persona_artefact.read_about(path))
    except MenuraError as error:
        facts["error"] = error.problems[0].message
    except (KeyError, TypeError, ValueError):
        facts["error"] = "its record is not as Menura writes it"
    return {**facts, **_on_disk(path)}


def persona_facts(name: str) -> dict[str, Any]:
    """Return how a persona was made and how it did on held-out dialogues; ``check`` and ``method`` are that in words.

    Raises ConfigError if there is none, DataError if its record is not as Menura writes it.
    """
    from menura.artefacts import persona_store
    from menura.personas.held_out import verdict_of

    persona = persona_store.load(name)
    path = Path(name) if name.endswith(persona_store.SUFFIX) else persona_store.path_of(name)
    try:
        made_of = _made_of({"model": persona.model, "recipe": persona.recipe})
        recipe = dict(persona.recipe)
        return {
            "name": persona.name,
            **made_of,
            "pick": str(recipe.get("pick", "")),
            "files": [str(file) for file in recipe.get("files", ())],
            "first_lines": list(persona.first_lines),
            "from_card": bool(persona.card),
            "method": _method_of(recipe),
            "check": verdict_of(recipe.get("held_out", {}), made_of["speaker"]),
            **_on_disk(path),
            "path": str(path),
            "base_sha256": persona.base_sha256,
            "model": dict(persona.model),
            "facts": [str(fact) for fact in persona.facts],
            "recipe": recipe,
            "remembered": len(persona.memory.exchanges) if persona.memory else 0,
            "versions": persona_store.versions(persona.name),
            "values": sum(value.numel() for value in persona.weights.values()),
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        message = "its record is not as Menura writes it"
        raise DataError(message, place=str(path), hint="adapt it again", code="persona_damaged") from error


def _made_of(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return base, speaker and what was learnt from, as a persona's file has them."""
    model, recipe = about["model"], about["recipe"]
    counts = {name: recipe.get(key) for name, key in (("dialogues", "shots"), ("replies", "replies"))}
    return {
        "base": str(model.get("base") or model["name"]),
        "speaker": str(recipe.get("speaker", "")),
        **{name: None if count is None else int(count) for name, count in counts.items()},
    }


def _method_of(recipe: Mapping[str, Any]) -> str:
    """Return the method with its main settings, and how the loss moved, as text."""
    method, losses = recipe.get("method", {}), recipe.get("support_loss", [])
    inner = method.get("inner") or {}
    parts = [str(method.get("name", ""))]
    parts += [number_of(inner["epochs"], "epoch")] if "epochs" in inner else []
    parts += [f"lr {inner['lr']:g}"] if "lr" in inner else []
    parts += [f"loss {losses[0]:.2f} -> {losses[-1]:.2f}"] if losses else []
    return ", ".join(parts)


def _on_disk(path: Path) -> dict[str, Any]:
    """Return when a file was written and its size; a persona's bytes hold no time, as the same one is the same file."""
    stat = path.stat()
    return {"made": f"{datetime.fromtimestamp(stat.st_mtime):%Y-%m-%d %H:%M}", "bytes": stat.st_size}


def delete_persona(name: str) -> None:
    """Delete a persona and what was written of it for engines; one that is not there is no error."""
    from menura.api.served_personas import remove_served
    from menura.artefacts import persona_store

    persona_store.remove(name)
    remove_served(name)


def rename_persona(old: str, new: str) -> Path:
    """Give a persona, with all its versions, another name; return its file.

    Raises ConfigError for a name that is in use or may not be used, and where there is no persona of the old one.
    """
    from menura.api.served_personas import remove_served
    from menura.artefacts import persona_store

    path = persona_store.rename(old, new)
    remove_served(old)
    return path


def workspace() -> dict[str, str]:
    """Return what belongs into an issue: versions, device, disk, workspace, bases."""
    import torch

    import menura
    from menura.artefacts import persona_store
    from menura.artefacts.bases import base
    from menura.artefacts.files import home

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    here = home()
    existing = next(folder for folder in (here, *here.parents) if folder.exists())
    return {
        "menura": menura.__version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        **{name: _version(name) for name in PACKAGES},
        "device": device,
        "workspace": f"{here} ({'exists' if here.exists() else 'not made yet'})",
        "free": f"{shutil.disk_usage(existing).free / 2**30:.1f} GiB",
        "bases here": ", ".join(record.name for record in base.on_disk()) or "none: menura base pull smollm2-135m",
        "personas": str(len(persona_store.names())),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
