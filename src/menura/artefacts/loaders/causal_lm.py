"""A causal language model of transformers: base from disk, adapters attached, adapter weights in place."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from menura.artefacts import tensors
from menura.artefacts.bases import base as bases
from menura.artefacts.bases.base import Say
from menura.artefacts.bases.dtype import Dtype
from menura.artefacts.bases.prepared import PREPARED, prepared_file
from menura.artefacts.bases.record import Base
from menura.artefacts.loading import DEFAULT, LoadedModel, LoadOptions, run_weights, with_weights
from menura.batches.chat_format import CHAT_FORMATS, SPECIAL_TOKENS
from menura.batches.chat_template import BaseFormat, base_format, with_ends
from menura.batches.encode import Encoder
from menura.batches.tokenizer import Tokenizer
from menura.errors import ConfigError, MismatchError
from menura.models.catalogue import MODELS, BuildInputs
from menura.models.causal_lm.adapter_hooks import check_can_learn
from menura.models.causal_lm.base_checks import check_starts_as_base
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.hf_networks import max_positions
from menura.models.layers.adapters import Adapters

LORA = Adapters(kind="lora", rank=8, target_modules="all-linear", layers="upper")  # of a persona on any base
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
    own_format = chat_format_of(settings, under, tokenizer)
    if settings.name == "p2_bot" and not own_format.chat_format.by_content:
        message = "p2_bot plays games of token ids, and in this base's chat format a turn is more than its words' ids"
        raise ConfigError(message, hint="--set model.chat_format=special")
    notes = [own_format.warning] if own_format.warning else []
    length = min(settings.max_length, max_positions(network) or settings.max_length)
    if length < settings.max_length:
        notes.append(f"it reads {length} tokens at most, so older turns are left out")
    encoder = Encoder(tokenizer, own_format.chat_format, length)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        model: Any = MODELS[settings.name].build(BuildInputs(network, encoder.chat_format), settings).eval()
    rows = network.get_input_embeddings().weight.shape[0]
    model.lm.suppress_ids = tuple(sorted(set(range(rows)) - set(tokenizer.rows().values())))
    check_starts_as_base(model.lm, tokenizer.encode(PROBE)[:length])
    path = init_file(settings, base) if settings.init_from else None
    loaded = LoadedModel(model, encoder, base, settings, notes=tuple(notes))
    if path is not None:
        _check_made_for(path, loaded)
        loaded = with_weights(loaded, path)
    check_can_learn(model, settings.init_from)
    return loaded


def chat_format_of(settings: CausalLmConfig, base: bases.LoadedBase, tokenizer: Tokenizer) -> BaseFormat:
    """Return the chat format that the settings name, or the base's own."""
    if settings.chat_format == "auto":
        return base_format(base.hf_tokenizer, tokenizer, base.end_ids)
    return BaseFormat(with_ends(CHAT_FORMATS[settings.chat_format](tokenizer), base.end_ids))


def causal_lm_inputs(settings: CausalLmConfig, _prefix: str) -> BuildInputs:
    """Return the build inputs for counting parameters: the base's network without its weights."""
    return BuildInputs(bases.without_weights(settings.base))


def init_file(settings: CausalLmConfig, base: Base | None = None) -> Path:
    """Return the file of weights that ``init_from`` names, the default or prepared checkpoint of the base included.

    ``base`` is the record of the settings' base, needed for a prepared one. Raises ConfigError if the base has no such
    checkpoint, StorageError if the file is missing.
    """
    if settings.init_from == PREPARED:
        path = prepared_file(base or bases.pull(settings.base, offline=True))
        if not path.exists():
            message = f"base {settings.base!r} has no prepared adapter checkpoint"
            raise ConfigError(message, hint=f"menura base prepare {quote(settings.base)}")
        return path
    if settings.init_from != DEFAULT:
        return run_weights(settings)
    path = _default_file(settings.base, settings.adapters.kind)
    if not path.exists():
        message = f"base {settings.base!r} has no default adapter checkpoint of kind {settings.adapters.kind}"
        raise ConfigError(message, hint='--set model.init_from="" begins afresh')
    return path


def _default_file(base: str, kind: str = LORA.kind) -> Path:
    """Return the file of a base's default checkpoint, or of an earlier one of another kind of adapters."""
    name = base if kind == LORA.kind else f"{base}.{kind}"
    return Path(str(files("menura.artefacts") / "default_adapters" / f"{name}.safetensors"))


def settings_for(base: str, *, offline: bool = False, say: Say = print) -> CausalLmConfig:
    """Return the settings of a persona's model on a base, which is fetched if need be.

    They begin at the checkpoint that was prepared for the base on this machine, or at its default one, or with fresh
    LoRA. ``shipped`` is the default base with its default checkpoint. Raises what ``base.pull`` raises.
    """
    if base == DEFAULT:
        return default_settings()
    path = prepared_file(bases.pull(base, offline=offline, say=say))
    if path.exists():
        return checkpoint_settings(base, path, PREPARED)
    return default_settings(base) if _default_file(base).exists() else CausalLmConfig(base=base, adapters=LORA)


def default_settings(base: str = "smollm2-135m", adapters: Adapters = LORA) -> CausalLmConfig:
    """Return the settings that the default checkpoint of a base was made with; ``adapters`` say of which kind."""
    path = init_file(CausalLmConfig(base=base, adapters=adapters, init_from=DEFAULT))
    return checkpoint_settings(base, path, DEFAULT)


def checkpoint_settings(base: str, path: Path, init_from: str) -> CausalLmConfig:
    """Return the settings that an adapter checkpoint fits, from its metadata."""
    about = tensors.metadata(path)
    kind, size = about.get("kind", "houlsby"), int(about["size"])
    sizes = {"rank": size} if kind == "lora" else {"bottleneck": size}
    adapters: Any = {
        "kind": kind,
        "layers": about.get("layers", "upper"),
        "target_modules": about.get("target_modules", "query_value"),
        **sizes,
    }
    return CausalLmConfig(base=base, max_length=int(about["limit"]), adapters=Adapters(**adapters), init_from=init_from)


def write_adapters(
    path: Path, weights: Mapping[str, Tensor], loaded: LoadedModel, extra_metadata: Mapping[str, str]
) -> None:
    """Write adapter weights in half precision, as they are initial weights; metadata name the base they fit."""
    settings: Any = loaded.config
    fits = {
        "base_sha256": loaded.base.sha256,
        "kind": settings.adapters.kind,
        "size": str(settings.adapters.size),
        "layers": str(settings.adapters.layers),
        "target_modules": settings.adapters.target_modules,
        "limit": str(settings.max_length),
        "chat_format_sha256": loaded.encoder.chat_format.sha256,
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
        message = "the base's own weights are trained in float32 only; bfloat16 is for adapters on a frozen base"
        raise ConfigError(message, hint="--dtype float32, or adapters without model.train_base")
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


def _check_made_for(path: Path, loaded: LoadedModel) -> None:
    """Raise MismatchError for adapter weights made for another base, chat format or kind of adapters."""
    settings: Any = loaded.config
    base, notes, ours = loaded.base, tensors.metadata(path), loaded.encoder.chat_format.sha256
    made_for, kind = notes.get("base_sha256", base.sha256), notes.get("kind", settings.adapters.kind)
    if made_for != base.sha256:
        raise MismatchError(
            f"start weights were made for base {made_for[:12]}, this is {base.name} ({base.sha256[:12]})",
            place=str(path),
        )
    if notes.get("chat_format_sha256", ours) != ours:
        raise MismatchError(
            f"start weights were trained in another chat format than {settings.chat_format}",
            place=str(path),
            hint="take the chat format that they were trained in",
            code="chat_format",
        )
    if kind != settings.adapters.kind:
        hint = f"use --set model.adapters.kind={kind}"
        raise MismatchError(
            f"start weights are for adapters {kind}, wanted {settings.adapters.kind}", place=str(path), hint=hint
        )
