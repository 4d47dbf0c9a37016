"""A name becomes a path: a known base, a folder, a GGUF file, a hub id, a model of Ollama or LM Studio."""

from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from ssl import SSLError
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from huggingface_hub import snapshot_download
from huggingface_hub.constants import ENDPOINT
from huggingface_hub.errors import HfHubHTTPError

from menura.artefacts.bases.catalogue import BASES
from menura.artefacts.bases.files import CONFIG, INDEX, WEIGHTS, read_config
from menura.artefacts.bases.local_models import hub_snapshot, local_model
from menura.artefacts.bases.packages import install
from menura.artefacts.bases.quiet import quiet
from menura.artefacts.bases.record import RECORD, Base, read_record
from menura.artefacts.files import home
from menura.errors import ConfigError, DataError, StorageError

HUB_SECONDS = 10
HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.tiktoken", "*.txt")  # no pickles, no code
HUB_REPEATS = ("consolidated*", "original/*", "onnx/*")  # the same weights in another form
Say = Callable[[str], None]


def folder_of(name: str) -> Path:
    """Return the place of a base, there or not: a path, a model of another program, or a folder of the workspace.

    A hub id that the hub's cache has is used where it lies: a copy would take its gigabytes twice, and what lies there
    changes only if somebody fetches it again, which the hash that personas are bound to tells. One that the workspace
    has, as earlier versions kept them, is taken from there. Raises as ``local_model``.
    """
    other = local_model(name)
    if other is not None:
        return other.path
    path = Path(name).expanduser()
    if name not in BASES and _exists(path):
        return path
    folder = home() / "bases" / name.replace("/", "--")
    if name in BASES or folder.is_dir():
        return folder
    return hub_snapshot(name) or folder


def on_disk() -> list[Base]:
    """Return the bases in the workspace."""
    return [read_record(path.parent) for path in sorted((home() / "bases").glob(f"*/{RECORD}"))]


def fetch(name: str, *, accept_terms: bool = False, offline: bool = False, say: Say = print) -> Path:
    """Return the place of a base, fetched unless it is on this machine; what it holds is not looked at.

    Raises ConfigError for an unknown name and for terms that were not accepted, StorageError if it cannot be fetched.
    """
    path, known = folder_of(name), BASES.get(name)
    if known is None:
        return path if _is_whole(path) or (path.exists() and _is_local(name)) else _from_hub(name, path, offline, say)
    if known.source == "config":
        raise ConfigError(f"base {name!r} has sizes only, no weights", hint="--base gpt2, or a folder")
    if not (path / RECORD).exists():
        install(known, path, accept_terms=accept_terms, offline=offline, say=say)
    return path


def unknown(name: str) -> ConfigError:
    """Return the refusal of a name that is none."""
    near = get_close_matches(name, BASES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(BASES)}, or a folder"
    return ConfigError(f"unknown base {name!r}", hint=hint, code="unknown_base")


def _exists(path: Path) -> bool:
    """Tell whether there is such a path; a name that no file can have is none."""
    try:
        return path.is_dir() or path.is_file()
    except (OSError, ValueError):
        return False


def _is_local(name: str) -> bool:
    return _exists(Path(name).expanduser()) or (home() / "bases" / name.replace("/", "--")).is_dir()


def _is_whole(path: Path) -> bool:
    """Tell whether a folder has all its weights; the hub's cache may hold a part."""
    if path.is_file() or (path / CONFIG).exists() and (path / WEIGHTS).exists():
        return True
    try:
        names = set(read_config(path / INDEX)["weight_map"].values()) if (path / INDEX).exists() else set()
    except (DataError, KeyError, AttributeError, TypeError):
        return True  # its refusal names what is wrong with it
    return bool(names) and all((path / str(name)).exists() for name in names) or any(path.glob("*.gguf"))


def _from_hub(name: str, path: Path, offline: bool, say: Say) -> Path:
    if "/" not in name and get_close_matches(name, BASES, cutoff=0.75):
        raise unknown(name)
    if offline and path.exists():
        return path  # a part of it, or weights of a kind that is refused by name
    if offline:
        raise StorageError(
            f"base {name!r} is not on this machine and --offline forbids to ask a hub",
            hint="menura base list",
            code="unreachable",
        )
    say(f"asking the hub for {name}")
    try:
        with quiet():
            if not _hub_answers():
                raise OSError("no hub answers")
            patterns, but = list(HUB_FILES), list(HUB_REPEATS)
            return Path(snapshot_download(name, allow_patterns=patterns, ignore_patterns=but, etag_timeout=HUB_SECONDS))
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise StorageError(
            f"base {name!r}: no such name, folder, and the hub could not be reached or does not have it",
            hint="menura base list",
            code="unreachable",
        ) from error


def _hub_answers() -> bool:
    """Tell whether the hub answers, with a short time-out: transformers would try each file for most of a minute."""
    try:
        urlopen(Request(ENDPOINT, method="HEAD"), timeout=HUB_SECONDS).close()
    except HTTPError:
        return True
    except URLError as error:
        return isinstance(error.reason, SSLError)  # the hub answers; huggingface_hub may know its certificate
    except OSError:
        return False
    return True
