"""What a Hugging Face network is, found by what it has, not by a table of model names."""

from inspect import signature
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from menura.models.causal_lm.functional_llama import ROPE_BY_LENGTH, rope_types

STATES = {"cache_params", "state"}  # parameters of a forward pass that takes a recurrent state
# Layer types whose cache is keys and values, one for each token.
ATTENDING = {"full_attention", "sliding_attention", "chunked_attention", "sparse", "dense"}
POSITIONS = ("wpe", "position_embeddings", "position_embedding", "embed_positions", "pos_embed", "pos_emb")


def is_recurrent(network: PreTrainedModel) -> bool:
    """Tell whether a layer keeps anything but the keys and values of each token: a state, a convolution's window.

    Such a cache does not stop where a row of a packed sequence ends, and takes in the padding on the left.
    """
    types = set(getattr(network.config, "layer_types", None) or ())
    takes = set(signature(type(network.base_model).forward).parameters)
    return bool(getattr(network, "_is_stateful", False) or types - ATTENDING or takes & STATES)


def max_positions(network: PreTrainedModel) -> int | None:
    """Return how many tokens of a sequence the network can read; None if nothing bounds them.

    Bounded are learnt position embeddings (GPT-2, OPT), which have no row beyond, and rotations whose angles change
    with the longest sequence of a pass: up to their original length, a row's logits depend on that row alone.
    """
    config: Any = network.config
    rows = [len(table) - getattr(part, "offset", 0) for part, table in _position_tables(network)]
    if any(kind in ROPE_BY_LENGTH for kind in rope_types(config)):
        original = (config.rope_parameters or {}).get("original_max_position_embeddings")
        rows.append(int(original or config.max_position_embeddings))
    return min(rows, default=None)


def _position_tables(network: PreTrainedModel) -> list[tuple[nn.Module, Tensor]]:
    """Return tables with a row for each position, each with the module that holds it."""
    tables: list[tuple[nn.Module, Tensor]] = []
    for name, part in network.base_model.named_modules():
        if name.rsplit(".", 1)[-1] in POSITIONS and isinstance(part, nn.Embedding):
            tables.append((part, part.weight))
        held = getattr(part, "embed_positions", None)  # GPT-J and CodeGen keep angles in a buffer
        if isinstance(held, Tensor) and held.dim() == 2:
            tables.append((part, held))
    return tables
