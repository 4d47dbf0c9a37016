"""Pretrained encoders of scorers: a name or a folder becomes a network and its vocabulary."""

from typing import Any

from menura.artefacts import tensors
from menura.artefacts.files import read_json
from menura.artefacts.pretrained_folder import HEADER_LIMIT, pretrained_folder
from menura.batches.tokenizer import Tokenizer
from menura.errors import DataError

NOT_OURS = ("pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids")  # the scorer has a head of its own


def load_encoder(name: str) -> tuple[Any, Tokenizer]:
    """Return the encoder of a name or a folder, a ``BertModel`` without pooling, and its vocabulary.

    Raises ConfigError where MiniLM's package is missing, UnsafeError where its weights are others than known.
    """
    folder = pretrained_folder(name, setting="encoder")
    network = of_sizes(read_json(folder / "config.json"))
    found = tensors.load(folder / "model.safetensors", header_limit=HEADER_LIMIT)
    weights = {key: value for key, value in found.items() if key not in NOT_OURS}
    tensors.check_same_shape(weights, network.state_dict(), f"encoder {name}")
    network.load_state_dict(weights)
    return network, Tokenizer.from_file(folder / "tokenizer.json")


def of_sizes(plain: dict[str, Any]) -> Any:
    """Return a fresh encoder from its saved configuration; DataError for another kind of network."""
    kind = plain.get("model_type")
    if kind != "bert":
        raise DataError(f"an encoder of kind bert wanted, found {kind!r}", place="config.json", code="schema")
    from transformers import BertConfig, BertModel  # noqa: PLC0415  # seconds, and few evaluations have such a scorer

    config = BertConfig(**{key: value for key, value in plain.items() if key != "model_type"})
    return BertModel(config, add_pooling_layer=False)
