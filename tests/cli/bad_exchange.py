"""The bad inputs of ``menura persona export`` and ``import``, in the folder of ``bad_inputs.py``."""

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from bad_inputs import PERSONAS, Bad, file, repacked, truncated
from safetensors.torch import save_file

from menura.artefacts.exchange.peft_folder import CONFIG, WEIGHTS

SETTINGS: Mapping[str, Any] = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["q_proj"]}
QUERY = "model.layers.3.self_attn.q_proj"
IMPORT = "persona import lora --name noa --base tiny"
EXPORT = "persona export mira --to"


def lora_folder(module: str = QUERY, **settings: Any) -> Callable[[], None]:
    """Return the act of writing a folder as peft does, of LoRA on one map of the tiny base."""

    def give() -> None:
        file(f"lora/{CONFIG}", json.dumps({**SETTINGS, **settings}))()
        parts = {"A": torch.full((2, 32), 0.25), "B": torch.full((32, 2), 0.5)}
        named = {f"base_model.model.{module}.lora_{which}.weight": value for which, value in parts.items()}
        save_file(named, Path("lora", WEIGHTS))

    return give


def then(*acts: Callable[[], object]) -> Callable[[], None]:
    """Return the act of doing this upon a good folder."""

    def give() -> None:
        for act in (lora_folder(), *acts):
            act()

    return give


def huge_header() -> None:
    """Say that nearly all of a file of 100 MB is its header."""
    with Path("lora", WEIGHTS).open("wb") as weights:
        weights.write(struct.pack("<Q", 100_000_000) + b"{")
        weights.truncate(100_000_008)


def pickled_weights() -> None:
    """Give the weights as an old peft wrote them."""
    Path("lora", WEIGHTS).unlink()
    torch.save({"weight": torch.zeros(2)}, "lora/adapter_model.bin")


def says(kind: str = "lora", rank: int = 4, **about: Any) -> Callable[[], None]:
    """Return the act of saying of a persona that it has other adapters, and what else is said."""
    adapters = {"kind": kind, "rank": rank, "target_modules": "query_value", "layers": "all"}

    def changed(old: dict[str, Any]) -> dict[str, Any]:
        return {**old, "model": {**old["model"], "adapters": adapters, "init_from": ""}, **about}

    return lambda: repacked(PERSONAS / "mira.persona", changed)


IMPORTS = (
    Bad("lora of dora", IMPORT, 3, "not_plain_lora", f"{CONFIG}: use_dora: it has DoRA", lora_folder(use_dora=True)),
    Bad("lora with biases", IMPORT, 3, "not_plain_lora", "bias 'all': it has biases", lora_folder(bias="all")),
    Bad(
        "lora with whole modules",
        IMPORT,
        *(3, "not_plain_lora", "modules_to_save: it has whole modules beside the LoRA"),
        lora_folder(modules_to_save=["lm_head"]),
    ),
    Bad("no lora", IMPORT, 5, "missing", f"lora: no {CONFIG} in it .hint: name the folder that peft wrote"),
    Bad(
        "lora without settings",
        IMPORT,
        *(5, "missing", f"lora: no {CONFIG} in it"),
        then(Path("lora", CONFIG).unlink),
    ),
    Bad("settings cut off", IMPORT, 3, "schema", f"{CONFIG}: not valid JSON", then(truncated(f"lora/{CONFIG}"))),
    Bad(
        "lora without weights",
        IMPORT,
        *(3, "weights_missing", f"lora: no {WEIGHTS} in it"),
        then(Path("lora", WEIGHTS).unlink),
    ),
    Bad(
        "lora of pickles",
        IMPORT,
        *(4, "unsafe_format", "lora: adapter_model.bin: pickle files can run code and are not read"),
        then(pickled_weights),
    ),
    Bad("half of lora", IMPORT, 3, "delta_format", f"{WEIGHTS}: damaged", then(truncated(f"lora/{WEIGHTS}"))),
    Bad(
        "lora with a huge header",
        IMPORT,
        *(3, "delta_format", f"{WEIGHTS}: a header of 100,000,000 bytes, limit 1,048,576"),
        then(huge_header),
    ),
    Bad(
        "lora of other layers",
        IMPORT,
        *(3, "layers_missing", "the base has no linear map transformer.h.0.attn.c_attn .hint: --base BASE, the one"),
        lora_folder("transformer.h.0.attn.c_attn"),
    ),
    Bad(
        "lora of another width",
        IMPORT,
        *(3, "tensor_shape", "down_proj: it maps 32 to 32 numbers, the base's 64 to 32"),
        lora_folder("model.layers.0.mlp.down_proj"),
    ),
    Bad(
        "lora called as a base",
        "persona import lora --name tiny --base tiny",
        *(2, "bad_name", "persona name 'tiny' is a model's"),
        lora_folder(),
    ),
    Bad("lora on no base", "persona import lora --name noa --base tinny", 2, "unknown_base", "tinny", lora_folder()),
)

EXPORTS = (
    Bad("other rank", f"{EXPORT} peft", 2, "cannot_leave", "of rank 32, and engines take 16 unl", says(rank=32)),
    Bad(
        "rank above that of the engine",
        f"{EXPORT} vllm --max-rank 4",
        *(2, "cannot_leave", "LoRA of rank 8, and engines take 4 .*hint: --max-rank 8 where the engine"),
        says(rank=8),
    ),
    Bad("rank of none", f"{EXPORT} vllm --max-rank 0", 2, "usage", "--max-rank.*greater than or equal to 1"),
    Bad(
        "adapters of no engine",
        f"{EXPORT} merged",
        *(2, "cannot_leave", "'mira' cannot leave as LoRA: Houlsby"),
        says("houlsby"),
    ),
    Bad("distil from nothing", f"{EXPORT} peft --distil", 2, "no_dialogues", "hint: --dialogues FILES"),
    Bad(
        "persona of another base",
        f"{EXPORT} peft",
        *(3, "base_mismatch", "persona 'mira' was made for base 000000000000, tiny is "),
        says(base_sha256="0" * 64),
    ),
    Bad(
        "persona of other layers",
        f"{EXPORT} peft",
        *(3, "base_mismatch", r"persona 'mira': \d+ tensors missing, \d+ unknown"),
        says(),
    ),
    Bad("no such program", f"{EXPORT} pefft", 2, "config", "--to 'pefft': one of charx, .*did you mean peft"),
    Bad("no such format of a card", f"{EXPORT} onnx", 2, "config", "--to 'onnx': one of charx, png, json, peft, vllm"),
    Bad("nobody to export", "persona export mria --to peft", 2, "model_not_found", "unknown persona 'mria'"),
    Bad("memory of none", f"{EXPORT} charx --with-memory", 2, "no_memory", "'mira' has no memory"),
    Bad("memory for an engine", f"{EXPORT} peft --with-memory", 2, "config", "--with-memory: .*a charx alone"),
    Bad("lora into a full folder", f"{EXPORT} peft --out home", 2, "in_the_way", "home has other things in it"),
    Bad("base into a full folder", "base export tiny --original --out home", 2, "in_the_way", "home has other things"),
)
