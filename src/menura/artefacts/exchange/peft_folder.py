"""LoRA as a folder of peft, which vLLM, SGLang and Ray Serve read too: written, and read from anybody.

What is written is the least that all of them take: two files, the scale within B, ``lora_alpha`` equal to the rank.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from transformers import PreTrainedModel

from menura.artefacts import tensors
from menura.artefacts.bases.files import listed, read_config
from menura.artefacts.exchange.lora import PortableLora, all_maps
from menura.artefacts.files import new_folder
from menura.batches.limited_process import call_limited
from menura.corpus.atomic_files import reporting
from menura.errors import ConfigError, DataError, Problem, StorageError, UnsafeError, shown
from menura.models.causal_lm.hf_modules import widths

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
FILES = frozenset({CONFIG, WEIGHTS})
PREFIX = "base_model.model."  # stands before a module's name in the network
SECONDS, MEMORY = 5.0, 256_000_000  # that matching names may take, and bytes of memory
KEY = re.compile(rf"{re.escape(PREFIX)}(?P<module>.+)\.lora_(?P<which>[AB])\.weight")
OTHERS = "peft's merge_and_unload makes a whole model of it, which is a base: --base FOLDER"
OWN_BASE = "--base BASE, the one that it was trained on"
PLAIN_STARTS = (True, False, "true", "gaussian", "eva", "orthogonal")  # that leave the base's weights as they are
# Settings of peft that no A and B alone stand for, and what each is.
REFUSED = {
    "use_dora": "DoRA, which scales the columns of the base's weights",
    "modules_to_save": "whole modules beside the LoRA",
    "lora_bias": "biases of its own",
    "layer_replication": "layers that stand in the network several times",
    "trainable_token_indices": "embeddings of tokens",
    "target_parameters": "LoRA on parameters that are no linear map",
    "alora_invocation_tokens": "LoRA that begins at a token (aLoRA)",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "arrow_config": "a router of several LoRAs",
    "kasa_config": "KaSA",
    "velora_config": "VeLoRA",
    "monteclora_config": "MonteCLoRA",
    "megatron_config": "layers of Megatron",
}
# Settings that change nothing of what A and B are, or that are read below.
READ = frozenset(
    [
        *("task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision"),
        *("inference_mode", "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "fan_in_fan_out"),
        *("bias", "use_rslora", "init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern"),
        *("alpha_pattern", "megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config"),
        *("qalora_group_size", "ensure_weight_tying", "runtime_config"),
    ]
)


def write_peft(folder: Path, lora: PortableLora, base_name: str) -> None:
    """Write the folder atomically; ``base_name`` is what an engine calls the base.

    Raises ConfigError where a folder of other things is in the way.
    """
    check_free(folder, FILES)
    content = {
        f"{PREFIX}{module}.lora_{which}.weight": value.contiguous()
        for module, pair in lora.maps.items()
        for which, value in zip("AB", pair, strict=True)
    }
    with new_folder(folder) as made, reporting(folder):
        (made / CONFIG).write_text(json.dumps(_settings(lora, base_name), indent=2) + "\n", encoding="utf-8")
        (made / WEIGHTS).write_bytes(save(content, metadata={"format": "pt"}))


def check_free(folder: Path, ours: frozenset[str] = frozenset()) -> None:
    """Raise ConfigError unless a folder is new, empty, or holds nothing but files of these names."""
    if not folder.exists():
        return
    with reporting(folder):
        there = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if others := sorted(there - ours) if folder.is_dir() else [folder.name]:
        message = f"{folder} has other things in it, which a new folder would take the place of: {listed(others)}"
        raise ConfigError(message, hint=f"--out {folder}-2", code="in_the_way")


def _settings(lora: PortableLora, base_name: str) -> dict[str, Any]:
    """Return ``adapter_config.json`` as all engines take it."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": lora.rank,
        "lora_dropout": 0.0,
        "target_modules": lora.target_modules,
        "layers_to_transform": lora.layers,  # for peft, which makes maps in all layers else; engines go by the tensors
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_rslora": False,
        "use_dora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
    }


def read_peft(folder: Path, network: PreTrainedModel) -> tuple[PortableLora, dict[str, Any]]:
    """Return a folder's LoRA for a network, the scale folded into B, and its settings.

    Where ranks differ, smaller maps are filled with zeros up to the highest, which changes nothing. ``network`` may be
    without weights. Raises StorageError, UnsafeError (pickles) or DataError for what cannot be read, and DataError with
    everything that is not plain LoRA on maps of this network.
    """
    if not (folder / CONFIG).is_file():
        raise StorageError(
            f"no {CONFIG} in it", place=str(folder), hint="name the folder that peft wrote", code="missing"
        )
    settings = read_config(folder / CONFIG)
    problems = list(_problems_of_settings(settings, str(folder / CONFIG)))
    if not (folder / WEIGHTS).is_file():
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        raise (UnsafeError if pickles else DataError).of([_no_weights(folder, pickles), *problems])
    found = tensors.load(folder / WEIGHTS)
    pairs = _pairs(found)
    problems += _problems_of_weights(found, pairs, network, str(folder / WEIGHTS))
    if problems:
        raise DataError.of(problems)
    rank = max(down.shape[0] for down, _ in pairs.values())
    alphas = _alphas(settings, list(pairs), str(folder / CONFIG))
    maps = {}
    for module, (down, up) in pairs.items():
        own = down.shape[0]
        scale = alphas[module] / (sqrt(own) if settings.get("use_rslora") else own)
        maps[module] = _padded(down.float(), _scaled(up, scale), rank)
    return PortableLora(maps), settings


def _no_weights(folder: Path, pickles: Sequence[str]) -> Problem:
    message = f"{pickles[0]}: pickle files can run code and are not read" if pickles else f"no {WEIGHTS} in it"
    code = "unsafe_format" if pickles else "weights_missing"
    return Problem(code, message, place=str(folder), hint="save it with peft's save_pretrained")


def _problems_of_settings(settings: Mapping[str, Any], place: str) -> Iterator[Problem]:
    """Yield what in the settings is more than A and B."""

    def problem(message: str) -> Problem:
        return Problem("not_plain_lora", message, place=place, hint=OTHERS)

    kind = settings.get("peft_type")
    if kind != "LORA":
        yield problem(f"peft_type {shown(str(kind))}: LORA is read")
    for name, what in REFUSED.items():
        if settings.get(name):
            yield problem(f"{name}: it has {what}")
    if (bias := settings.get("bias", "none")) != "none":
        yield problem(f"bias {shown(str(bias))}: it has biases of the base's maps")
    start = settings.get("init_lora_weights", True)
    if start not in PLAIN_STARTS:
        yield problem(f"init_lora_weights {shown(str(start))}: it is relative to weights of the base that were changed")
    unknown = [name for name, value in settings.items() if name not in READ | REFUSED.keys() and value]
    for name in sorted(unknown):
        yield problem(f"{shown(name)}: a setting that is not known here, so what it means for A and B is not either")
    for name in ("r", "lora_alpha"):
        if not isinstance(settings.get(name), int | float) or settings[name] <= 0:
            yield problem(f"{name}: {shown(str(settings.get(name)))}, a number above 0 is wanted")
    for name in ("rank_pattern", "alpha_pattern"):
        if not isinstance(settings.get(name) or {}, dict):
            yield problem(f"{name}: an object is wanted")


def _pairs(found: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return A and B of each module that has both."""
    keys = [match for name in found if (match := KEY.fullmatch(name))]
    modules = dict.fromkeys(match["module"] for match in keys)
    names = {module: [f"{PREFIX}{module}.lora_{which}.weight" for which in "AB"] for module in modules}
    return {module: (found[a], found[b]) for module, (a, b) in names.items() if a in found and b in found}


def _problems_of_weights(
    found: Mapping[str, Tensor], pairs: Mapping[str, tuple[Tensor, Tensor]], network: PreTrainedModel, place: str
) -> Iterator[Problem]:
    """Yield tensors that are no A or B, that lack the other one, whose map the network has not, or that do not fit."""
    maps = all_maps(network)
    paired = {f"{PREFIX}{module}.lora_{which}.weight" for module in pairs for which in "AB"}
    if others := sorted(found.keys() - paired):
        message = f"{len(others)} tensors are no A with its B: {listed(others)}"
        yield Problem("not_plain_lora", message, place=place, hint=OTHERS)
    if not pairs:
        yield Problem("not_plain_lora", "no LoRA in it", place=place, hint=OTHERS)
    if unknown := sorted(pairs.keys() - maps.keys()):
        message = f"the base has no linear map {listed(unknown)}"
        yield Problem("layers_missing", message, place=place, hint=OWN_BASE)
    for module, (down, up) in sorted(pairs.items()):
        if module not in maps:
            continue
        width_in, width_out = widths(maps[module][2])
        if down.dim() != 2 or up.dim() != 2 or down.shape[0] != up.shape[1] or not down.shape[0]:
            message = f"{module}: A is {tuple(down.shape)} and B {tuple(up.shape)}, which do not fit one another"
            yield Problem("tensor_shape", message, place=place, hint=OTHERS)
        elif (down.shape[1], up.shape[0]) != (width_in, width_out):
            message = (
                f"{module}: it maps {down.shape[1]} to {up.shape[0]} numbers, the base's {width_in} to {width_out}"
            )
            yield Problem("tensor_shape", message, place=place, hint=OWN_BASE)
        if not all(bool(torch.isfinite(value).all()) for value in (down, up)):
            yield Problem("not_finite", f"{module}: values are not finite", place=place, hint=OTHERS)


def _alphas(settings: Mapping[str, Any], modules: Sequence[str], place: str) -> dict[str, float]:
    """Return alpha of each module: the first of ``alpha_pattern`` that its name matches, else ``lora_alpha``."""
    patterns = settings.get("alpha_pattern") or {}

    def matched() -> dict[str, float]:
        usual = float(settings["lora_alpha"])
        return {
            module: next(
                # As peft matches them.
                (float(alpha) for pattern, alpha in patterns.items() if re.match(rf"(.*\.)?({pattern})$", module)),
                usual,
            )
            for module in modules
        }

    try:
        # A pattern of somebody else's can take for ever.
        alphas: dict[str, float] = call_limited(matched, seconds=SECONDS, memory=MEMORY) if patterns else matched()
    except (TimeoutError, MemoryError, ChildProcessError) as error:
        message = "alpha_pattern: a pattern cannot be read, or takes too long"
        raise DataError(message, place=place, hint=OTHERS, code="not_plain_lora") from error
    return alphas


def _scaled(up: Tensor, scale: float) -> Tensor:
    """Return B with the scale in it, in float32; bit for bit B where the scale is 1."""
    return up.float() if scale == 1 else (up.double() * scale).float()


def _padded(down: Tensor, up: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Return A and B with zeros up to a rank."""
    if down.shape[0] == rank:
        return down, up
    return (
        torch.cat([down, down.new_zeros(rank - down.shape[0], down.shape[1])]),
        torch.cat([up, up.new_zeros(up.shape[0], rank - up.shape[1])], 1),
    )
