"""The methods that AR+'s study found ineffective, and the row without any of them (spec B12, F-A1, F-A16).

``arplus-ineffective/base`` is AR+ over a BERT's word pieces with layers of its shapes, no two of them shared.
``adapters`` continues its run, which ``--set model.init_from=`` names, and trains adapters only; ``weights`` has
layers initialised from the BERT; ``features-…`` join the BERT's hidden states of the context to the token embeddings
or replace them. Data, steps and learning rate are the same for all. ``tiny`` has an encoder made from code, ``cpu``
MiniLM and its two lowest layers, ``paper`` a BERT-base and the study's steps, from a hub or a folder (``--set
model.pieces_of=``). No speaker has attributes here: the packaged corpus has none.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from menura.adaptation.finetune import PretrainOnly
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.training.config import Outer, RunConfig
from menura.training.data import DataConfig
from menura.training.recipes.arplus import OUTER, TINY
from menura.training.recipes.mamlviapp import Size

ENCODERS: Mapping[Size, str] = {"tiny": "tiny", "cpu": "minilm", "paper": "google-bert/bert-base-uncased"}
SHAPES: Mapping[Size, Mapping[str, Any]] = {  # of the encoder's layers
    "tiny": {"hidden_size": 32, "num_heads": 4, "intermediate_size": 64, "num_layers": 2, "embedding": 16},
    "cpu": {"hidden_size": 384, "num_heads": 12, "intermediate_size": 1536, "num_layers": 2, "embedding": 128},
    "paper": {"hidden_size": 768, "num_heads": 12, "intermediate_size": 3072, "num_layers": 6},
}
READ: Mapping[Size, Mapping[str, Any]] = {
    "cpu": {"max_turns": 2, "max_utterance_tokens": 20, "max_reply_tokens": 20, "max_length": 80}
}
BOTTLENECKS: Mapping[Size, int] = {"tiny": 4, "cpu": 64, "paper": 2048}
CHITCHAT = DataConfig(with_facts=False, max_turns=6, max_dialogues=10, min_heldout_dialogues=4)
STEPS: Mapping[Size, Outer] = {
    "tiny": OUTER["tiny"],
    "cpu": Outer(
        120,
        2,
        0,
        2,
        lr=1e-3,
        warmup_steps=15,
        weight_decay=0.05,
        weight_decay_of="matrices",
        max_grad_norm=1.0,
        save_every=20,
        eval_every=40,
        eval_personas=10,
    ),
    "paper": OUTER["paper"],
}


def base(size: Size, **model_settings: Any) -> RunConfig:
    """AR+ with the encoder's pieces and shapes, randomly initialised; settings of the model replace its own."""
    model = AttentionRoutingConfig(
        pieces="wordpiece",
        pieces_of=ENCODERS[size],
        feed_forward="full",
        groups=1,
        **{**SHAPES[size], **READ.get(size, {}), **model_settings},
    )
    data = TINY if size == "tiny" else CHITCHAT
    return RunConfig(f"arplus-ineffective/base@{size}", model, PretrainOnly(), data, STEPS[size])


def adapters(size: Size) -> RunConfig:
    """Houlsby adapters after attention and feed-forward network of every layer; only they are trained."""
    made = _row("adapters", size, adapter_bottleneck=BOTTLENECKS[size])
    return replace(made, method=PretrainOnly(trainable="adapters"))


def weights(size: Size) -> RunConfig:
    """Layers initialised from a BERT."""
    return _row("weights", size, pretrained_weights=ENCODERS[size])


def features(features_as: str, size: Size) -> RunConfig:
    """Hidden states of a frozen BERT beside the embeddings of the context ("concat") or in their place ("replace")."""
    return _row(f"features-{features_as}", size, pretrained_features=ENCODERS[size], features_as=features_as)


def _row(name: str, size: Size, **model_settings: Any) -> RunConfig:
    return replace(base(size, **model_settings), recipe=f"arplus-ineffective/{name}@{size}")


ROWS: dict[str, Callable[[Size], RunConfig]] = {
    "arplus-ineffective/base": base,
    "arplus-ineffective/adapters": adapters,
    "arplus-ineffective/weights": weights,
    "arplus-ineffective/features-concat": partial(features, "concat"),
    "arplus-ineffective/features-replace": partial(features, "replace"),
}
