"""Settings become a model that can speak: base from disk, adapters attached, start weights in place."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from menura.artefacts import base as bases
from menura.artefacts import tensors
from menura.artefacts.base import Base
from menura.batches.encode import Encoder
from menura.batches.layout import LAYOUTS, SPECIAL_TOKENS
from menura.errors import ConfigError, DataError, MismatchError
from menura.models.causal_lm import CausalLm, CausalLmConfig, check_starts_as_base
from menura.models.parts.adapters import Adapters, check_can_learn

SHIPPED = "shipped"
PROBE = "The quick brown fox jumps over the lazy dog."


@dataclass(frozen=True)
class Loaded:
    """A model on its device with its encoder, and the base it stands on."""

    model: CausalLm
    encoder: Encoder
    base: Base
    config: CausalLmConfig
    start_sha256: str = ""
    start_about: Mapping[str, str] = field(default_factory=dict)  # what the start was trained on


def load_model(
    config: CausalLmConfig,
    *,
    seed: int = 0,
    device: str = "cpu",
    offline: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Loaded:
    """Build a model; fresh adapters come from ``seed`` and are checked to change nothing (MAMLviaPP, Eq. 2).

    Raises what ``base.pull`` raises, and MismatchError for start weights made for another base or other adapters.
    """
    network, tokens, base = bases.load(config.base, offline=offline, say=say)
    if config.layout == "special":
        tokens = tokens.adding(SPECIAL_TOKENS)
    encoder = Encoder(tokens, LAYOUTS[config.layout](tokens), config.limit)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CausalLm(network, config).eval()
    if config.adapters.kind != "none":
        check_starts_as_base(model, tokens.encode(PROBE))
        check_can_learn(model)
    start_sha256 = _put_start(model, config, base) if config.start else ""
    start_about = tensors.metadata(start_file(config)) if config.start else {}
    return Loaded(model.to(device), encoder, base, config, start_sha256, start_about)


def start_file(config: CausalLmConfig) -> Path:
    """Return the file of the start weights that ``config.start`` names."""
    if config.start != SHIPPED:
        path = Path(config.start)
        return path / "best.safetensors" if path.is_dir() else path
    path = Path(str(files("menura.artefacts") / "starts" / f"{config.base}.safetensors"))
    if not path.exists():
        raise ConfigError(f"no start is shipped for base {config.base!r}", hint='--set model.start="" begins afresh')
    return path


def shipped_config(base: str = "smollm2-135m") -> CausalLmConfig:
    """Return the settings that the shipped start was made with."""
    about = tensors.metadata(start_file(CausalLmConfig(base=base, start=SHIPPED)))
    return CausalLmConfig(
        base=base,
        limit=int(about["limit"]),
        adapters=Adapters(kind="houlsby", size=int(about["size"]), layers="upper"),
        start=SHIPPED,
    )


def write_start(path: Path, weights: Mapping[str, Tensor], loaded: Loaded, about: Mapping[str, str]) -> None:
    """Write start weights with what they fit; half precision, as they are a beginning and not a result."""
    fits = {
        "base_sha256": loaded.base.sha256,
        "size": str(loaded.config.adapters.size),
        "limit": str(loaded.config.limit),
        **about,
    }
    tensors.save(path, {name: value.half() for name, value in weights.items()}, fits)


def _put_start(model: CausalLm, config: CausalLmConfig, base: Base) -> str:
    path = start_file(config)
    made_for = tensors.metadata(path).get("base_sha256", base.sha256)
    if made_for != base.sha256:
        raise MismatchError(
            f"start weights were made for base {made_for[:12]}, this is {base.name} ({base.sha256[:12]})",
            place=str(path),
        )
    wanted = {name: p for name, p in model.named_parameters() if p.requires_grad}
    found = tensors.load(path)
    if not found:
        raise DataError("no weights in it", place=str(path), code="delta_format")
    tensors.check_same_shape(found, wanted, f"start {path.name}")
    with torch.no_grad():
        for name, value in found.items():
            wanted[name].copy_(value)
    return tensors.content_sha256(found)
