"""The layers and linear maps of a Hugging Face network, found by their type, not by a table of model names."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from menura.errors import ConfigError

ATTENTION_NAMES = ("self_attn", "attn", "attention", "self_attention")
FEED_FORWARD_NAMES = ("mlp", "feed_forward", "ffn")
KEY_VALUE_NAMES = (("k_proj", "v_proj"), ("key", "value"))
FEED_FORWARD_ENDS = ("down_proj", "c_proj", "fc2", "w2", "dense_4h_to_h", "fc_out")
INPUT_MAP_NAMES = ("q_proj", "v_proj", "c_attn", "query_key_value", "qkv_proj", "query", "value")

Forward = Callable[..., Tensor]


def blocks_of(network: nn.Module, depth: int) -> Sequence[nn.Module]:
    """Return the ``depth`` layers; ConfigError if the network has no such list."""
    for module in network.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return list(module)
    raise ConfigError(f"found no list of {depth} layers in {type(network).__name__}; this base cannot carry adapters")


def sublayers(block: nn.Module) -> dict[str, nn.Module]:
    """Return the attention and feed-forward modules of a layer, by name."""
    children = dict(block.named_children())
    attention = next((children[name] for name in ATTENTION_NAMES if name in children), None)
    feed_forward = next((children[name] for name in FEED_FORWARD_NAMES if name in children), None)
    if attention is None or feed_forward is None:
        raise ConfigError(
            f"{type(block).__name__} has no attention and feed-forward part to put adapters behind",
            hint="use --set model.adapters.kind=lora, or none for in-place",
        )
    return {"attention": attention, "feed_forward": feed_forward}


def input_maps(block: nn.Module) -> dict[str, nn.Module]:
    """Return the attention's query and value maps (one map where a base fuses them), by name."""
    found = {
        name.rsplit(".", 1)[-1]: module
        for name, module in block.named_modules()
        if name.rsplit(".", 1)[-1] in INPUT_MAP_NAMES
    }
    if not found:
        raise ConfigError(f"{type(block).__name__} has no attention input map that LoRA could be added to")
    return found


def key_value_maps(block: nn.Module) -> dict[str, tuple[nn.Module, int]]:
    """Return the attention's key and value maps by name, each with how many of its last outputs are keys and values."""
    children = dict(sublayers(block)["attention"].named_children())
    for names in KEY_VALUE_NAMES:
        if set(names) <= children.keys():
            return {name: (children[name], widths(children[name])[1]) for name in names}
    # Fused maps order their outputs in many ways. Only GPT-2's family, which keeps them transposed, is known to put
    # queries, keys and values in thirds.
    fused = children.get("c_attn")
    if fused is None or isinstance(fused, nn.Linear):
        raise ConfigError(
            f"{type(block).__name__} has no key and value maps that (IA)3 could scale",
            hint="use --set model.adapters.kind=lora",
        )
    width_in, width_out = widths(fused)
    return {"c_attn": (fused, width_out - width_in)}


def feed_forward_end(block: nn.Module) -> tuple[str, nn.Module]:
    """Return the name and module of the feed-forward network's down projection."""
    for name, module in sublayers(block)["feed_forward"].named_children():
        if name in FEED_FORWARD_ENDS:
            return f"mlp_{name}", module
    raise ConfigError(
        f"{type(block).__name__} has no feed-forward map that (IA)3 could scale the input of",
        hint="use --set model.adapters.kind=lora",
    )


def widths(linear: nn.Module) -> tuple[int, int]:
    """Return a linear map's input and output width; GPT-2 keeps its maps transposed."""
    if isinstance(linear, nn.Linear):
        return linear.in_features, linear.out_features
    weight = linear.weight
    assert isinstance(weight, Tensor)
    return weight.shape[0], weight.shape[1]


@contextmanager
def standing_in(blocks: Sequence[nn.Module], forwards: Sequence[Forward]) -> Iterator[None]:
    """Replace the layers' ``forward`` while the block runs, then restore it."""
    for block, forward in zip(blocks, forwards, strict=True):
        block.forward = forward
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def passing(hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Return the input: the identity in place of a layer."""
    del args, kwargs
    return hidden
