"""Initialises attention routing from a BERT: word pieces, layers, hidden states (AR+'s ineffective methods).

The public program copies the weights and then initialises every matrix at random (spec F-A1); here they are kept.
"""

import string
from collections.abc import Callable
from functools import cache

import torch
from tokenizers import Tokenizer as HFTokenizer
from tokenizers import decoders, models, normalizers, pre_tokenizers
from torch import nn

from menura.artefacts.bases.record import Base
from menura.artefacts.pretrained import BERT_TOKENS, ENDS, MASK, OPENS, Pretrained, Weights, load_pretrained
from menura.batches.subword_mapping import AS_BERT, encoder_ids
from menura.batches.tokenizer import Tokenizer
from menura.errors import ConfigError
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.models.attention_routing.frozen_encoder import FrozenEncoder
from menura.models.layers.transformer import Sizes, Transformer

TINY = "tiny"  # single letters and random weights: for tests, without files
TINY_SIZES = Sizes(0, 32, 2, 4, 64, 256)
MAPS = {"attention.qkv": "qkv", "attention.out": "out", "network.inner": "inner", "network.outer": "outer"}


def load_bert(
    name: str, *, weights: bool = True, offline: bool = False, say: Callable[[str], None] = lambda line: None
) -> Pretrained:
    """Return a BERT: ``tiny``, ``minilm``, a folder or a hub id; ConfigError for any other model."""
    made = _tiny() if name == TINY else load_pretrained(name, weights=weights, offline=offline, say=say)
    if made.mask is None:
        hint = "name minilm, or a folder with a BERT"
        raise ConfigError(f"{name!r} is no BERT: attention routing takes pieces, layers and states of these", hint=hint)
    return made


def check_layers_fit(config: AttentionRoutingConfig, sizes: Sizes) -> None:
    """Raise ConfigError, with the settings that fit, unless the layers have the shapes of the BERT's."""
    wanted = {
        "hidden_size": sizes.hidden_size,
        "num_heads": sizes.num_heads,
        "intermediate_size": sizes.intermediate_size,
        "groups": 1,
        "feed_forward": "full",
    }
    found = {name: config.network if name == "feed_forward" else getattr(config, name) for name in wanted}
    wrong = [f"{name} {found[name]}, not {value}" for name, value in wanted.items() if found[name] != value]
    if config.num_layers > sizes.num_layers:
        wrong.append(f"num_layers {config.num_layers}, more than {sizes.num_layers}")
    if wrong:
        fits = {**wanted, "num_layers": min(config.num_layers, sizes.num_layers)}
        hint = " ".join(f"--set model.{name}={value}" for name, value in fits.items())
        told = f"model.pretrained_weights: {config.pretrained_weights} does not fit: {'; '.join(wrong)}"
        raise ConfigError(told, hint=hint)


def put_layers(pretrained: Pretrained, config: AttentionRoutingConfig, model: nn.Module) -> None:
    """Copy a BERT's lowest layers into the model's layers; ConfigError for shapes that do not fit.

    A layer's first norm is the one before it in a BERT, the last norm of the layer below; ReZero has no second one.
    Our networks have ReLU, a BERT's GELU: the copy is an initialisation, not the same function.
    """
    check_layers_fit(config, pretrained.sizes)
    ours = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in layers_of(pretrained.weights, config.num_layers).items():
            if name in ours:
                ours[name].copy_(value)


def layers_of(found: Weights, count: int) -> Weights:
    """Return a BERT's lowest layers by the names of attention routing."""
    named: Weights = {}
    for layer in range(count):
        its, own = f"body.blocks.{layer}", f"layers.{layer}"
        below = f"body.blocks.{layer - 1}.output_norm" if layer else "embeddings.norm"
        pairs = {f"{own}.{ours}": f"{its}.{theirs}" for ours, theirs in MAPS.items()}
        pairs |= {f"{own}.norm": below, f"{own}.middle_norm": f"{its}.attention_norm"}
        named |= {f"{o}.{part}": found[f"{t}.{part}"] for o, t in pairs.items() for part in ("weight", "bias")}
    return named


def frozen_encoder(pretrained: Pretrained, config: AttentionRoutingConfig, ours: Tokenizer) -> FrozenEncoder:
    """Return the frozen encoder for contexts in our tokens."""
    if config.max_length + 1 > pretrained.sizes.max_positions:
        most = pretrained.sizes.max_positions - 1
        told = f"model.max_length: {config.max_length}, but {config.pretrained_features} has {most + 1} places"
        raise ConfigError(told, hint=f"--set model.max_length={most}")
    rows = encoder_ids(ours, pretrained.tokenizer)
    opens = pretrained.tokenizer.control(AS_BERT["<bos>"])
    return FrozenEncoder(pretrained.sizes, pretrained.weights, rows, config.features_layer, opens)


@cache
def _tiny() -> Pretrained:
    """Make a BERT of two layers over single letters; the same each time."""
    marks = [*dict.fromkeys([*BERT_TOKENS, *AS_BERT.values()])]
    letters = string.ascii_lowercase + string.digits + string.punctuation
    vocabulary = {piece: row for row, piece in enumerate([*marks, *letters, *(f"##{letter}" for letter in letters)])}
    made = HFTokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.add_special_tokens([mark for mark in marks if "unused" not in mark])
    sizes = Sizes(
        len(vocabulary),
        *(
            getattr(TINY_SIZES, n)
            for n in ("hidden_size", "num_layers", "num_heads", "intermediate_size", "max_positions")
        ),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        body = Transformer(sizes)
        norm = nn.LayerNorm(sizes.hidden_size)
        tables = {"token": len(vocabulary), "position": sizes.max_positions, "role": 2}
        weights = {f"embeddings.{name}.weight": torch.randn(rows, sizes.hidden_size) for name, rows in tables.items()}
    weights |= {f"embeddings.norm.{name}": value.detach() for name, value in norm.named_parameters()}
    weights |= {f"body.{name}": value.detach() for name, value in body.named_parameters()}
    base = Base(TINY, "code", "", sum(value.numel() for value in weights.values()), "", "")
    tokenizer = Tokenizer(made, wordpiece=True)
    return Pretrained(base, sizes, tokenizer, OPENS, ENDS, weights, mask=tokenizer.control(MASK))
