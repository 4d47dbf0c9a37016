"""Small random networks of the families that people bring as a base, and what they must equal, in float64 throughout.

Shape letters: L tokens of a sequence, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from counts import count
from made_up import stir
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from menura.batches.encode import EncodedExchange
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.model import CausalLm
from menura.models.layers.adapters import Adapters

VOCABULARY = 288
WINDOW = 24
LENGTHS = (61, 7, 33, 33, 2, 48)  # tokens of each sequence: beyond the window, alike, all but empty
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
GEMMA = {"head_dim": 16, "sliding_window": WINDOW, "query_pre_attn_scalar": 16}
MIXED = ["full_attention", "sliding_attention", "full_attention", "sliding_attention"]

# Each with its model type and what it sets beside SIZES.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama3": ("llama", {"tie_word_embeddings": True, "rope_parameters": LLAMA3}),
    "tinyllama": ("llama", {"tie_word_embeddings": False}),
    "mistral": ("mistral", {"sliding_window": WINDOW, "tie_word_embeddings": False}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"tie_word_embeddings": True, "head_dim": 16}),
    "gemma2": ("gemma2", GEMMA),
    "gemma3": ("gemma3_text", {**GEMMA, "layer_types": MIXED}),
    "phi3": ("phi3", {"tie_word_embeddings": False}),
    "granite": (
        "granite",
        {
            "embedding_multiplier": 12.0,
            "residual_multiplier": 0.22,
            "logits_scaling": 8.0,
            "attention_multiplier": 0.125,
        },
    ),
    "ernie": ("ernie4_5", {"tie_word_embeddings": True}),
    "lfm2": ("lfm2", {"layer_types": ["conv", "full_attention"] * 2, "block_auto_adjust_ff_dim": False}),
    "smollm3": ("smollm3", {"no_rope_layer_interval": 4, "tie_word_embeddings": True}),
    "olmo2": ("olmo2", {"tie_word_embeddings": False}),
    "stablelm": ("stablelm", {"partial_rotary_factor": 0.25, "tie_word_embeddings": False}),
    "qwen3moe": (
        "qwen3_moe",
        {"head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    ),
    "gpt2": ("gpt2", {"n_embd": 32, "n_layer": 4, "n_head": 4, "max_position_embeddings": 64}),
    "pythia": ("gpt_neox", {"rotary_pct": 0.25, "tie_word_embeddings": False}),
    "opt": ("opt", {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    "bloom": ("bloom", {"n_layer": 4, "n_head": 4}),
    "falcon": ("falcon", {"multi_query": True, "parallel_attn": True, "alibi": False}),
    "mamba": ("mamba", {"state_size": 8}),
}
# Further shapes of them that are computed in other ways.
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama-biased": ("llama", {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 4}),
    "llama-linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0}}),
    "llama-yarn": ("llama", {"rope_parameters": YARN}),
    "qwen2-windows": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2, "layer_types": MIXED},
    ),
    "mistral-open": ("mistral", {"sliding_window": None}),
    "bigcode": ("gpt_bigcode", {"multi_query": True, "n_inner": 64}),
    "opt-projected": ("opt", {"ffn_dim": 64, "word_embed_proj_dim": 16}),
    "falcon-alibi": ("falcon", {"multi_query": False, "parallel_attn": False, "alibi": True}),
    "rwkv": ("rwkv", {"attention_hidden_size": 32, "context_length": 512}),
    "jamba": (
        "jamba",
        {
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "expert_layer_period": 2,
            "expert_layer_offset": 1,
            "num_experts": 2,
            "mamba_d_state": 8,
            "use_mamba_kernels": False,
        },
    ),
    "qwen3-next": (
        "qwen3_next",
        {
            "head_dim": 16,
            "layer_types": ["linear_attention", "full_attention"] * 2,
            "num_experts": 2,
            "num_experts_per_tok": 1,
            "moe_intermediate_size": 16,
            "shared_expert_intermediate_size": 16,
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 4,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
    ),
}
FAST = {"llama3", "tinyllama", "mistral", "qwen2", "qwen3", "gemma3", "granite", "ernie", "smollm3", "gpt2"}
FAST |= {"llama-biased", "llama-linear", "llama-yarn", "qwen2-windows", "mistral-open"}
RECURRENT = {"lfm2", "mamba", "rwkv", "jamba", "qwen3-next"}


class Exactly(TorchFunctionMode):
    """Compute in float64 what asks for float32: as norms, rotations and softmaxes of transformers do."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        wide = [torch.float64 if each is torch.float32 else each for each in args]
        named = {k: torch.float64 if v is torch.float32 else v for k, v in (kwargs or {}).items()}
        return (torch.Tensor.double if func is torch.Tensor.float else func)(*wide, **named)


@contextmanager
def exactly() -> Iterator[None]:
    """Compute in float64 throughout while the block runs."""
    torch.set_default_dtype(torch.float64)
    try:
        with Exactly():
            yield
    finally:
        torch.set_default_dtype(torch.float32)


def network(name: str, **settings: Any) -> PreTrainedModel:
    """Make a network of a family, all of whose parameters are random, norms and biases too."""
    kind, further = {**FAMILIES, **SHAPES}[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = AutoConfig.for_model(kind, **{**SIZES, **further, **settings})
        config._experts_implementation = "eager"  # the default product of experts has no float64
        made = AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.dim() < 2:
                    parameter += 0.1 * torch.randn_like(parameter)
    return made


def model(name: str, kind: str = "none", *, moved: bool = True, double: bool = True, **settings: Any) -> CausalLm:
    """Make a model over a family's network; ``moved`` adapters are away from their start."""
    torch.manual_seed(7)
    adapters = Adapters(**{"kind": kind, "bottleneck": 4, "rank": 4, "num_virtual_tokens": 4, **settings})
    made = CausalLm(network(name), CausalLmConfig("x", adapters=adapters)).eval()
    if moved and kind != "none":
        stir(made, size=0.2)
    return made.double() if double else made


def exchanges(lengths: Sequence[int] = LENGTHS, replies: int = 5) -> list[EncodedExchange]:
    """Make exchanges of random tokens whose sequences have these lengths; the last ``replies`` are the reply."""
    stream = torch.Generator().manual_seed(11)
    made = []
    for index, length in enumerate(lengths):
        ids = tuple(torch.randint(3, 250, (length,), generator=stream).tolist())
        cut = max(length - replies, 1)
        made.append(EncodedExchange("p", f"d{index}", (), ids[:cut], ids[cut:]))
    return made


def shared_context(further: int = 3) -> list[EncodedExchange]:
    """Make replies of several lengths to two contexts, one of them longer than the window."""
    found = []
    for exchange in exchanges((58, 30)):
        found += [replace(exchange, reply=tuple(range(70 + at, 70 + 3 * at + 2))) for at in range(further)]
        found.append(exchange)
    return found


def own_logits(made: CausalLm, ids: Sequence[int]) -> Tensor:
    """Return logits (L, V) of the network's own forward pass, hooks of adapters included, of one sequence alone."""
    with torch.no_grad():
        logits: Tensor = made.network(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0]
    return logits


def own_nll(made: CausalLm, exchange: EncodedExchange) -> float:
    """Return −log p of an exchange's reply by the network's own forward pass."""
    scores = own_logits(made, exchange.ids).log_softmax(-1)
    start = len(exchange.prefix)
    return -float(sum(scores[start - 1 + at, token] for at, token in enumerate(exchange.reply)))


def own_states(made: CausalLm, ids: Sequence[int]) -> Tensor:
    """Return (L, D) the last hidden states of the network's own forward pass."""
    with torch.no_grad():
        output = made.network.base_model(input_ids=torch.tensor([list(ids)]), use_cache=False)
    states: Tensor = output.last_hidden_state[0]
    return states


def near(ours: Tensor, wanted: Tensor, share: float = 1e-9) -> bool:
    """Tell whether tensors differ by at most this share of the largest number."""
    return bool((ours - wanted).abs().max() <= share * wanted.abs().max())


def chosen(names: Sequence[str], always: Sequence[str] = ()) -> list[str]:
    """Return all names in a full run, some of them in a quick one."""
    every = count(full_count=1, quick_count=6)
    return [name for place, name in enumerate(names) if place % every == 0 or name in always]


def maps_of(made: nn.Module) -> list[str]:
    """Return the names of a module's linear maps."""
    return [name for name, part in made.named_modules() if isinstance(part, nn.Linear)]
