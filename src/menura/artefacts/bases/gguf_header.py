"""What a GGUF file (llama.cpp, LM Studio, Ollama) says of itself, read without its weights."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import torch
from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

from menura.artefacts.bases.kinds import OTHERS
from menura.corpus.atomic_files import reporting
from menura.errors import DataError, shown

ALIASES = ("qwen2moe", "qwen3moe", "gpt-oss", "minimax-m2", "qwen35", "qwen35moe")  # read under another name
ENCODERS = ("t5", "t5encoder", "umt5", "bert", "nomic-bert", "jina-bert-v2")
DAMAGE = (
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    EOFError,
    MemoryError,
    AssertionError,
    struct.error,
)
ROPE_FACTORS = "rope_freqs.weight"


@dataclass(frozen=True)
class GgufHeader:
    """What a GGUF file says of itself; ``quantisation`` as llama.cpp names it: Q4_0, Q4_K_M, F16."""

    path: Path
    architecture: str
    quantisation: str
    parameters: int
    tensors: dict[str, int]  # values of each
    rope_factors: torch.Tensor | None
    rope_scaling: str
    eos_ids: tuple[int, ...]


def read_gguf_header(path: Path) -> GgufHeader:
    """Return the header of a GGUF file.

    Raises DataError if the file is damaged, or its architecture is one that transformers does not read.
    """
    place = str(path)
    with reporting(path):
        try:
            reader = gguf.GGUFReader(path)
            header = _header(reader, path)
        except DAMAGE as error:
            message = f"damaged: {(str(error).splitlines() or [type(error).__name__])[0][:80]}; copy or fetch it again"
            raise DataError(message, place=place, hint=OTHERS, code="gguf_damaged") from error
    kind = header.architecture
    if kind in ENCODERS:
        message = f"{kind} is an encoder; a causal language model is wanted"
        raise DataError(message, place=place, hint=OTHERS, code="encoder_decoder")
    if kind not in GGUF_SUPPORTED_ARCHITECTURES and kind not in ALIASES:
        message = f"transformers reads no GGUF of architecture {shown(kind)}; the folder of the same model may serve"
        raise DataError(message, place=place, hint=OTHERS, code="gguf_architecture")
    if header.rope_scaling:
        message = f"its rope scaling ({header.rope_scaling}) is not read from GGUF; the folder of the same model serves"
        raise DataError(message, place=place, hint=OTHERS, code="gguf_rope")
    return header


def _header(reader: "gguf.GGUFReader", path: Path) -> GgufHeader:
    def value(key: str) -> Any:
        field = reader.get_field(key)
        return None if field is None else field.contents()

    architecture = value("general.architecture")
    if not isinstance(architecture, str):
        raise ValueError("it names no architecture")
    tensors = {tensor.name: int(tensor.n_elements) for tensor in reader.tensors}
    factors = next((torch.tensor(t.data.tolist()) for t in reader.tensors if t.name == ROPE_FACTORS), None)
    scaling = value(f"{architecture}.rope.scaling.type")
    scaled = "" if scaling in (None, "none") or architecture == "gpt-oss" else str(scaling)
    ends = (value(f"tokenizer.ggml.{name}_token_id") for name in ("eos", "eot", "eom"))
    return GgufHeader(
        path,
        architecture,
        _quantisation(value("general.file_type"), reader),
        sum(count for name, count in tensors.items() if name != ROPE_FACTORS),
        tensors,
        factors,
        scaled,
        tuple(sorted({int(id) for id in ends if id is not None})),
    )


def _quantisation(file_type: Any, reader: "gguf.GGUFReader") -> str:
    try:
        return str(gguf.LlamaFileType(file_type).name).removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:  # unnamed or newer: the type of most bytes
        sizes: dict[str, int] = {}
        for tensor in reader.tensors:
            sizes[tensor.tensor_type.name] = sizes.get(tensor.tensor_type.name, 0) + int(tensor.n_bytes)
        return max(sizes, key=lambda name: sizes[name])
