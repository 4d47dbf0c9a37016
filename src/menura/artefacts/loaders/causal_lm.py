"""A causal language model of transformers: base from disk, adapters attached, adapter weights in place."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from menura.artefacts import base as bases
from menura.artefacts import tensors
from menura.artefacts.base_dtype import Dtype
from menura.artefacts.base_record import Base
from menura.artefacts.loading import DEFAULT, LoadedModel, LoadOptions, run_weights, with_weights
from menura.batches.chat_format import CHAT_FORMATS, SPECIAL_TOKENS
from menura.batches.encode import Encoder
from menura.errors import ConfigError, MismatchError
from menura.models.catalogue import MODELS, BuildInputs
from menura.models.causal_lm.adapter_hooks import check_can_learn
from menura.models.causal_lm.model import CausalLmConfig, check_starts_as_base
from menura.models.layers.adapters import Adapters

PROBE = "The quick brown fox jumps over the lazy dog."


def load_causal_lm(settings: CausalLmConfig, options: LoadOptions) -> LoadedModel:
    """Attach fresh adapters, check that they change nothing (MAMLviaPP, Eq. 2), and load initial adapter weights.

    The model's encoder turns dialogues into token ids (no network).
    """
    dtype = _dtype_for(settings, options)
    under = bases.load(settings.base, dtype=dtype, device=options.device, offline=options.offline, say=options.say)
    network, tokenizer, base = under.network, under.tokenizer, under.base
    if settings.reinit != "none":
        network = bases.reinitialized(network, small=settings.reinit == "small", seed=options.seed)
    _check_vocabulary(len(tokenizer), network, settings)
    if settings.chat_format == "special":
        tokenizer = tokenizer.adding(SPECIAL_TOKENS)
    encoder = Encoder(tokenizer, CHAT_FORMATS[settings.chat_format](tokenizer), settings.max_length)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model: Any = MODELS[settings.name].build(BuildInputs(network, encoder.chat_format), settings).eval()
    check_starts_as_base(model.lm, tokenizer.encode(PROBE))
    path = init_file(settings) if settings.init_from else None
    loaded = LoadedModel(model, encoder, base, settings)
    if path is not None:
        _check_made_for(path, settings, base)
        loaded = with_weights(loaded, path)
    check_can_learn(model, settings.init_from)
    return loaded


def causal_lm_inputs(settings: CausalLmConfig, _prefix: str) -> BuildInputs:
    """Return the build inputs for counting parameters: the base's network without its weights."""
    return BuildInputs(bases.without_weights(settings.base))


def init_file(settings: CausalLmConfig) -> Path:
    """Return the file of weights that ``init_from`` names, the default adapter checkpoint of the base included.

    Raises ConfigError if the base has no default, StorageError if the file is missing.
    """
    if settings.init_from != DEFAULT:
        return run_weights(settings)
    path = Path(str(files("menura.artefacts") / "default_adapters" / f"{settings.base}.safetensors"))
    if not path.exists():
        told = f"base {settings.base!r} has no default adapter checkpoint"
        raise ConfigError(told, hint='--set model.init_from="" begins afresh')
    return path


def default_settings(base: str = "smollm2-135m") -> CausalLmConfig:
    """Return the settings that the default adapter checkpoint of a base was made with."""
    about = tensors.metadata(init_file(CausalLmConfig(base=base, init_from=DEFAULT)))
    return CausalLmConfig(
        base=base,
        max_length=int(about["limit"]),
        adapters=Adapters(kind="houlsby", bottleneck=int(about["size"]), layers="upper"),
        init_from=DEFAULT,
    )


def write_adapters(
    path: Path, weights: Mapping[str, Tensor], loaded: LoadedModel, extra_metadata: Mapping[str, str]
) -> None:
    """Write adapter weights in half precision, as they are initial weights; metadata name the base they fit."""
    settings: Any = loaded.config
    fits = {
        "base_sha256": loaded.base.sha256,
        "kind": settings.adapters.kind,
        "size": str(settings.adapters.size),
        "limit": str(settings.max_length),
        **extra_metadata,
    }
    tensors.save(path, {name: value.half() for name, value in weights.items()}, fits)


def _dtype_for(settings: CausalLmConfig, options: LoadOptions) -> Dtype:
    """Return the number type asked for; ConfigError if the base itself would be trained in bfloat16.

    With its 8 bits most steps of training are too small to change a weight.
    """
    if not settings.train_base and settings.adapters.kind != "none":
        return options.dtype
    if options.dtype == "bfloat16":
        told = "the base's own weights are trained in float32 only; bfloat16 is for adapters on a frozen base"
        raise ConfigError(told, hint="--dtype float32, or adapters without model.train_base")
    return "float32"


def _check_vocabulary(tokens: int, network: PreTrainedModel, settings: CausalLmConfig) -> None:
    """Raise MismatchError if the format's own tokens would not follow the base's rows."""
    rows = network.get_input_embeddings().weight.shape[0]
    if settings.chat_format == "special" and tokens != rows:
        between = f"{rows - tokens} unused rows stand between" if tokens < rows else f"{tokens - rows} rows are missing"
        raise MismatchError(
            f"chat format special puts its tokens behind the base's; here {between}",
            place=settings.base,
            hint="use --set model.chat_format=chat or plain",
        )


def _check_made_for(path: Path, settings: CausalLmConfig, base: Base) -> None:
    """Raise MismatchError for adapter weights made for another base or another kind of adapters."""
    notes = tensors.metadata(path)
    made_for, kind = notes.get("base_sha256", base.sha256), notes.get("kind", settings.adapters.kind)
    if made_for != base.sha256:
        raise MismatchError(
            f"start weights were made for base {made_for[:12]}, this is {base.name} ({base.sha256[:12]})",
            place=str(path),
        )
    if kind != settings.adapters.kind:
        hint = f"use --set model.adapters.kind={kind}"
        raise MismatchError(
            f"start weights are for adapters {kind}, wanted {settings.adapters.kind}", place=str(path), hint=hint
        )
