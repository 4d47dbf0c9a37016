"""The layers and linear maps of a Hugging Face network, found by their type, not by a table of model names."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from menura.errors import ConfigError

ATTENTION_NAMES = ("self_attn", "attn", "attention", "self_attention")
FEED_FORWARD_NAMES = ("mlp", "feed_forward", "ffn")
KEY_VALUE_NAMES = (("k_proj", "v_proj"), ("key", "value"))
FEED_FORWARD_ENDS = ("down_proj", "c_proj", "fc2", "w2", "dense_4h_to_h", "fc_out")
QUERY_VALUE, ALL_LINEAR = "query_value", "all-linear"
NEVER_CALLED = ("dt_proj",)
INPUT_MAP_NAMES = ("q_proj", "v_proj", "c_attn", "query_key_value", "qkv_proj", "query", "value")

Forward = Callable[..., Any]


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
            hint="use --set model.adapters.kind=lora --set model.adapters.target_modules=all-linear",
        )
    return {"attention": attention, "feed_forward": feed_forward}


def summed_sublayers(block: nn.Module) -> dict[str, nn.Module]:
    """Return a layer's sublayers if their outputs are what it adds to its input, one after the other or both at once.

    ConfigError where a sublayer adds the input itself (Bloom): a module behind it would also change the input.
    """
    parts = sublayers(block)
    for name, part in parts.items():
        if "residual" in signature(part.forward).parameters:
            raise ConfigError(
                f"{type(part).__name__}: the layer's input is added inside its {name} part, so no adapter can stand "
                "behind that part alone",
                hint="use --set model.adapters.kind=lora",
            )
    return parts


def linear_maps(block: nn.Module) -> dict[str, nn.Module]:
    """Return all linear maps of a layer by their full name in it, as peft's ``all-linear`` finds them.

    Experts and routers that are such modules are among them; those kept as one tensor for all experts are not, as no
    hook reaches them. For the same reason ``dt_proj`` of Mamba is left out: its weight is used without calling it.
    """
    maps = {name: module for name, module in block.named_modules() if isinstance(module, (nn.Linear, Conv1D))}
    return {name: module for name, module in maps.items() if name.rsplit(".", 1)[-1] not in NEVER_CALLED}


def lora_maps(block: nn.Module, target_modules: str) -> dict[str, nn.Module]:
    """Return the linear maps of a layer that ``target_modules`` names (see ``Adapters``); empty if it has none of them.

    ``query_value`` are the attention's query and value maps, by their last name, or one map where a base fuses them.
    """
    there = linear_maps(block)
    if target_modules == ALL_LINEAR:
        return there
    if target_modules == QUERY_VALUE:
        maps = {name: module for name, module in there.items() if name.rsplit(".", 1)[-1] in INPUT_MAP_NAMES}
        last = Counter(name.rsplit(".", 1)[-1] for name in maps)
        return {short if last[short := name.rsplit(".", 1)[-1]] == 1 else name: module for name, module in maps.items()}
    wanted = [name.strip() for name in target_modules.split(",")]
    return {name: module for name, module in there.items() if any(name == w or name.endswith(f".{w}") for w in wanted)}


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
