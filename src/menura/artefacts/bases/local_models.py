"""The models that other programs keep on this machine: hub cache, Ollama, LM Studio."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from huggingface_hub import constants, scan_cache_dir, snapshot_download
from huggingface_hub.errors import CacheNotFound

from menura.artefacts.bases.files import listed
from menura.artefacts.bases.kinds import OTHERS
from menura.errors import ConfigError, StorageError, shown

OLLAMA, LM_STUDIO = "ollama:", "lmstudio:"
OLLAMA_HOST, OLLAMA_OWN, OLLAMA_TAG = "registry.ollama.ai", "library", "latest"  # left out of names
MODEL_LAYER = "application/vnd.ollama.image.model"


@dataclass(frozen=True)
class LocalModel:
    """A model of another program: what to type for it, its size in bytes, where it lies."""

    name: str
    size: int
    path: Path
    program: str


def local_models() -> list[LocalModel]:
    """Return the models of the hub cache, Ollama and LM Studio, by name."""
    return [*_hub_cache(), *ollama_models(), *lm_studio_models()]


def local_model(name: str) -> LocalModel | None:
    """Return the model that ``ollama:NAME`` or ``lmstudio:NAME`` names, None for any other name.

    Raises ConfigError, with near names, if the program has no such model or several.
    """
    if name.startswith(OLLAMA):
        wanted = name if ":" in name.removeprefix(OLLAMA) else f"{name}:{OLLAMA_TAG}"
        here = ollama_models()
        matching = [model for model in here if wanted == _with_tag(model.name)]
    elif name.startswith(LM_STUDIO):
        here = lm_studio_models()
        wanted = name.removeprefix(LM_STUDIO).casefold().removesuffix(".gguf")
        matching = [model for model in here if wanted in _short_names(model.name)]
    else:
        return None
    if len(matching) != 1:
        raise _not_one(name, matching, here)
    return matching[0]


def ollama_models() -> list[LocalModel]:
    """Return the models of Ollama (``$OLLAMA_MODELS``, or its folder in the user's home)."""
    root = Path(os.environ.get("OLLAMA_MODELS") or Path.home() / ".ollama" / "models").expanduser()
    models = []
    for manifest in sorted((root / "manifests").glob("*/*/*/*")):
        host, owner, name, tag = manifest.relative_to(root / "manifests").parts
        blob = _model_blob(manifest, root)
        if blob is None:
            continue
        short = name if (host, owner) == (OLLAMA_HOST, OLLAMA_OWN) else f"{owner}/{name}"
        short = short if host == OLLAMA_HOST else f"{host}/{short}"
        short = short if tag == OLLAMA_TAG else f"{short}:{tag}"
        models.append(LocalModel(OLLAMA + short, blob.stat().st_size, blob, "Ollama"))
    return models


def lm_studio_models() -> list[LocalModel]:
    """Return the GGUF files of LM Studio, in its folder of today and in the one before."""
    models: dict[str, LocalModel] = {}
    for root in (Path.home() / ".lmstudio" / "models", Path.home() / ".cache" / "lm-studio" / "models"):
        for file in sorted(root.glob("*/*/*.gguf")):
            if not file.name.startswith("mmproj"):  # what turns images into embeddings
                name = LM_STUDIO + file.relative_to(root).as_posix()
                models.setdefault(name, LocalModel(name, file.stat().st_size, file, "LM Studio"))
    return list(models.values())


def hub_snapshot(name: str) -> Path | None:
    """Return the folder of a hub id in the local cache, None if it was never fetched or is no hub id."""
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):
        return None


def _hub_cache() -> Iterator[LocalModel]:
    try:
        repos = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except (CacheNotFound, OSError, ValueError):
        return
    for repo in sorted(repos, key=lambda repo: str(repo.repo_id)):
        snapshot = hub_snapshot(repo.repo_id) if repo.repo_type == "model" else None
        if snapshot is not None and any(snapshot.glob("*.safetensors")):
            yield LocalModel(repo.repo_id, repo.size_on_disk, snapshot, "hub cache")
        for file in sorted(snapshot.glob("*.gguf")) if snapshot else ():
            yield LocalModel(str(file), file.stat().st_size, file, "hub cache")


def _model_blob(manifest: Path, root: Path) -> Path | None:
    """Return the file of weights that a manifest names, None if it names none that is here."""
    try:
        layers = json.loads(manifest.read_bytes())["layers"]
        digest = next(layer["digest"] for layer in layers if layer["mediaType"] == MODEL_LAYER)
        blob = root / "blobs" / Path(digest.replace(":", "-")).name
    except (OSError, ValueError, KeyError, TypeError, StopIteration, AttributeError):
        return None
    return blob if blob.is_file() else None


def _with_tag(name: str) -> str:
    return name if ":" in name.removeprefix(OLLAMA) else f"{name}:{OLLAMA_TAG}"


def _short_names(name: str) -> set[str]:
    """Return all that may be typed for PUBLISHER/REPO/FILE.gguf: a part may be left out where the rest is enough."""
    publisher, repo, file = name.removeprefix(LM_STUDIO).casefold().removesuffix(".gguf").split("/")
    return {f"{publisher}/{repo}/{file}", f"{publisher}/{repo}", f"{repo}/{file}", repo, file}


def _not_one(name: str, matching: Sequence[LocalModel], here: Sequence[LocalModel]) -> ConfigError | StorageError:
    program = "Ollama" if name.startswith(OLLAMA) else "LM Studio"
    if matching:
        message = f"{shown(name)}: {len(matching)} files of {program}: {listed([model.name for model in matching])}"
        return ConfigError(message, hint=f"--base {matching[0].name}", code="gguf_several")
    if not here:
        return StorageError(f"{program} keeps no models on this machine", hint=OTHERS, code="missing")
    near = get_close_matches(name, [model.name for model in here], n=3, cutoff=0.3) or [here[0].name]
    message = f"{program} has no model {shown(name)}; near: {listed(near)}"
    return ConfigError(message, hint=f"--base {near[0]}", code="unknown_base")
