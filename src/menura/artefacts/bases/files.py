"""What lies at a path that is to be a base: its files, found and checked without loading a network."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open

from menura.artefacts.bases.gguf_header import GgufHeader, read_gguf_header
from menura.artefacts.bases.kinds import OTHERS, check_kind, own_code, quantised
from menura.corpus.atomic_files import reporting
from menura.errors import DataError, StorageError, UnsafeError, shown

CONFIG, WEIGHTS, INDEX, TOKENIZER = "config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json"
# In the order they are looked for; all but the first are converted by transformers.
VOCABULARIES = (TOKENIZER, "tokenizer.model", "*.tiktoken", "vocab.json", "vocab.txt")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
CONVERSION = (
    'python -c "import sys, transformers as t; '
    't.AutoModelForCausalLM.from_pretrained(sys.argv[1]).save_pretrained(sys.argv[1])" {folder}'
)
NAMED_AT_MOST = 5
JSON_LIMIT = 64 << 20  # bytes
PLAIN = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SPLIT_GGUF = re.compile(r"-\d{5}-of-\d{5}\.gguf$")


@dataclass(frozen=True)
class BaseFiles:
    """The files of a base: a folder of safetensors with a ``config``, or one GGUF file, which holds everything.

    ``parameters`` counts the values; ``stored`` is the widest type among them.
    """

    kind: Literal["safetensors", "gguf"]
    folder: Path
    weights: tuple[Path, ...]
    vocabulary: Path
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: int = 0
    stored: torch.dtype = torch.float16
    gguf: GgufHeader | None = None


def base_files(path: Path) -> BaseFiles:
    """Return the files of the base at a path, a folder or a ``.gguf`` file.

    Raises DataError for what is missing or damaged, or is no causal language model with plain weights, UnsafeError for
    pickles and for a network with code of its own, StorageError for what cannot be read. Weights are not read.
    """
    with reporting(path):
        is_file, entries = path.is_file(), [] if path.is_file() else sorted(path.iterdir())
    if is_file:
        return _single_file(path)
    names = {entry.name for entry in entries}
    if "adapter_config.json" in names:
        raise _adapter(path)
    has_weights = any(name.endswith(".safetensors") for name in names)
    ggufs = [entry for entry in entries if entry.suffix == ".gguf" and not entry.name.startswith("mmproj")]
    if ggufs and not has_weights:
        return _gguf(_only(ggufs, path))
    if CONFIG not in names:
        raise _incomplete(path, CONFIG)
    config = read_config(path / CONFIG)
    check_kind(config, path / CONFIG)
    weights = _weight_files(path)
    vocabulary = _vocabulary(path)
    parameters, stored = _headers(weights)
    return BaseFiles("safetensors", path, weights, vocabulary, config, parameters, stored)


def read_config(path: Path) -> dict[str, Any]:
    """Return a JSON object that others wrote; DataError if it is none."""
    with reporting(path):
        content = path.read_bytes() if path.stat().st_size <= JSON_LIMIT else b""
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON: {str(error)[:80]}", place=str(path), hint=OTHERS, code="schema") from error
    if not isinstance(config, dict):
        raise DataError("a JSON object is wanted", place=str(path), hint=OTHERS, code="schema")
    return config


def _single_file(path: Path) -> BaseFiles:
    with reporting(path), path.open("rb") as file:
        beginning = file.read(4)
    if beginning == b"GGUF":
        return _gguf(path)
    if path.suffix == ".gguf":
        raise DataError(
            "not a GGUF file: it does not begin with GGUF", place=str(path), hint=OTHERS, code="gguf_damaged"
        )
    if beginning[:1] == b"\x80" or beginning[:2] == b"PK":
        raise UnsafeError("pickle files can run code and are not read", place=str(path), hint=OTHERS)
    hint = f"--base {quote(str(path.parent))}" if path.suffix in (".safetensors", ".json") else OTHERS
    raise DataError("a base is a folder, a .gguf file or a hub id", place=str(path), hint=hint, code="base_missing")


def _gguf(path: Path) -> BaseFiles:
    if SPLIT_GGUF.search(path.name):
        hint = f"llama-gguf-split --merge {quote(str(path))} whole.gguf"
        raise DataError("a GGUF in several parts is not read", place=str(path), hint=hint, code="gguf_split")
    header = read_gguf_header(path)
    return BaseFiles("gguf", path.parent, (path,), path, parameters=header.parameters, gguf=header)


def _only(ggufs: list[Path], folder: Path) -> Path:
    if len(ggufs) == 1 or SPLIT_GGUF.search(ggufs[0].name):
        return ggufs[0]
    smallest = min(ggufs, key=lambda file: file.stat().st_size)
    message = f"{len(ggufs)} GGUF files, one is wanted: {listed([file.name for file in ggufs])}"
    raise DataError(message, place=str(folder), hint=f"--base {quote(str(smallest))}", code="gguf_several")


def _adapter(folder: Path) -> DataError:
    config = read_config(folder / "adapter_config.json")
    base = shown(str(config.get("base_model_name_or_path") or "an unnamed base"))
    message = f"this is a {shown(str(config.get('peft_type', 'PEFT')))[1:-1]} adapter for {base}, not a base"
    return DataError(message, place=str(folder), hint=OTHERS, code="adapter_folder")


def _weight_files(folder: Path) -> tuple[Path, ...]:
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    if not (folder / INDEX).is_file():
        raise _incomplete(folder, WEIGHTS)
    places = read_config(folder / INDEX).get("weight_map")
    names = sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []
    # Names with a slash could lead out of the folder.
    strange = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    if strange or not names:
        message = f"it names {listed(strange)}, no safetensors files of this folder" if strange else "it names no files"
        raise DataError(message, place=str(folder / INDEX), hint=OTHERS, code="weights_damaged")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        message = (
            f"{len(missing)} of {len(names)} files of weights are missing: {listed(missing)}; copy or fetch them again"
        )
        raise DataError(message, place=str(folder), hint=OTHERS, code="shard_missing")
    return tuple(folder / name for name in names)


def _headers(files: tuple[Path, ...]) -> tuple[int, torch.dtype]:
    """Return the number of values and their widest type; DataError if a header lies or the file is not whole."""
    count, stored = 0, set[torch.dtype]()
    for path in files:
        try:
            with safe_open(path, "pt") as file:
                parts = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118  # no mapping
                types = {part.get_dtype() for part in parts}
                count += sum(torch.Size(part.get_shape()).numel() for part in parts)
        except (SafetensorError, ValueError, OverflowError) as error:
            message = f"not a whole safetensors file: {str(error)[:80]}; copy or fetch it again"
            raise DataError(message, place=str(path), hint=OTHERS, code="weights_damaged") from error
        except OSError as error:
            raise StorageError(str(error)[:80], place=str(path)) from error
        if narrow := sorted(name for name in types if name.startswith(("F8", "F4", "F6"))):
            raise quantised("FP8" if narrow[0].startswith("F8") else narrow[0], path)
        stored |= {PLAIN[name] for name in types & PLAIN.keys()}
    return count, max(stored, key=lambda kind: kind.itemsize, default=torch.float32)


def _vocabulary(folder: Path) -> Path:
    vocabulary = next((path for name in VOCABULARIES for path in sorted(folder.glob(name))), None)
    if vocabulary is None:
        message = f"no tokenizer: {TOKENIZER} is missing; copy it from where the weights are from"
        raise DataError(message, place=str(folder), hint=OTHERS, code="no_tokenizer")
    settings = folder / "tokenizer_config.json"
    if vocabulary.name != TOKENIZER and settings.is_file() and "auto_map" in read_config(settings):
        raise own_code("its tokenizer", settings)
    return vocabulary


def _incomplete(folder: Path, needed: str) -> DataError | UnsafeError:
    pickles = [path for pattern in PICKLES for path in sorted(folder.glob(pattern)) if path.name != "training_args.bin"]
    if pickles:
        message = (
            f"{pickles[0].name}: pickle files can run code and are not read; convert it to {WEIGHTS} where you trust it"
        )
        # transformers finds weights by these names only.
        known = (folder / CONFIG).exists() and pickles[0].name.startswith("pytorch_model")
        return UnsafeError(
            message, place=str(folder), hint=CONVERSION.format(folder=quote(str(folder))) if known else OTHERS
        )
    return DataError(f"not a base: {needed} is missing", place=str(folder), hint=OTHERS, code="base_missing")


def listed(names: list[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")
