"""Small random bases as people have them: folders of safetensors and GGUF files, written by these tests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as HFTokenizer
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from menura.batches.tokenizer import CHAT_TOKENS, byte_tokenizer

SIZES = {
    "vocab_size": 264,  # more rows than tokens, as most bases have
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": 258,
}
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
ROPE = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}


def network(kind: str = "llama", seed: int = 0, **settings: Any) -> PreTrainedModel:
    """Return a random network."""
    torch.manual_seed(seed)
    made: PreTrainedModel = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SIZES, **settings}))
    return made.eval()


def hf_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer over bytes with ChatML."""
    held = HFTokenizer.from_str(byte_tokenizer(CHAT_TOKENS).to_json())
    made = PreTrainedTokenizerFast(tokenizer_object=held, eos_token="<|im_end|>")
    made.chat_template = TEMPLATE
    return made


def write_base(folder: Path, kind: str = "llama", seed: int = 0, **settings: Any) -> PreTrainedModel:
    """Write a folder as ``save_pretrained`` leaves it; return its network."""
    made = network(kind, seed, **settings)
    made.save_pretrained(folder)
    hf_tokenizer().save_pretrained(folder)
    return made


def change_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def change_weights(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the tensors of a folder with one file of weights."""
    path = folder / "model.safetensors"
    held = load_file(path)
    change(held)
    save_file(held, path, metadata={"format": "pt"})


def write_gguf(
    path: Path,
    of: PreTrainedModel,
    *,
    architecture: str = "llama",
    rope_factors: Any = None,
    rope_scaling: str = "",
    layers: int = 0,
    bos: int | None = None,
    words: Path | None = None,
    template: str = TEMPLATE,
) -> None:
    """Write a Llama as llama.cpp's converter does, in 32 bits; ``layers`` are written, the header's by default.

    With a ``bos``, which its tokenizer puts in front, it has no chat template. ``words`` is the ``tokenizer.json`` of
    SmolLM2 in place of the bytes.
    """
    config = of.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    if rope_scaling:
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope_scaling))
    _add_words(writer, words) if words else _add_tokenizer(writer, config.vocab_size)
    if bos is not None:
        writer.add_bos_token_id(bos)
        writer.add_add_bos_token(True)
    else:
        writer.add_chat_template(template)
    for name, value in _ggml_tensors(of, layers or config.num_hidden_layers).items():
        writer.add_tensor(name, value.numpy())
    if rope_factors is not None:
        writer.add_tensor("rope_freqs.weight", np.asarray(rope_factors, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, size: int) -> None:
    tokens = sorted(byte_tokenizer(CHAT_TOKENS).rows().items(), key=lambda pair: pair[1])
    names = [*(name for name, _ in tokens), "ĠĠ"]  # a merge, as a file without any is none
    names += [f"<unused{number}>" for number in range(size - len(names))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(names)
    writer.add_token_types([3 if name.startswith("<|") else 5 if name.startswith("<unused") else 1 for name in names])
    writer.add_token_merges(["Ġ Ġ"])
    writer.add_eos_token_id(258)
    writer.add_eot_token_id(257)


def _add_words(writer: gguf.GGUFWriter, path: Path) -> None:
    held = json.loads(path.read_text(encoding="utf-8"))
    names = sorted(held["model"]["vocab"], key=held["model"]["vocab"].get)
    special = {token["content"] for token in held["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(names)
    writer.add_token_types([3 if name in special else 1 for name in names])
    pairs = held["model"]["merges"]
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in pairs])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _ggml_tensors(of: PreTrainedModel, layers: int) -> dict[str, Tensor]:
    config, held = of.config, of.state_dict()
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    made = {}
    for name, value in held.items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        part = name.split(".")[-2]
        if part in heads:  # llama.cpp rotates neighbours, transformers halves
            count = heads[part]
            value = value.reshape(count, 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
        made[f"{names.get_name(name.removesuffix('.weight'))}.weight"] = value.contiguous()
    return made
