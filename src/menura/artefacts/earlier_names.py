"""Names in files of earlier versions, or that users used to type, become today's names.

Files are read under their old names (``renamed_settings``, ``renamed_weights``); what is typed is refused by name
(``names_now``). The tables are the only place that knows an old name.
"""

import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from menura.artefacts.bases.catalogue import BASES

T = TypeVar("T")

_OPTIMIZER = {"rate": "lr", "decay": "weight_decay", "batch": "batch_size", "clip": "max_grad_norm"}
# By the scope of the settings: outer.rate is outer.lr now.
SETTINGS: Mapping[str, Mapping[str, str]] = {
    "run": {"precision": "dtype"},
    "outer": {
        **_OPTIMIZER,
        "tasks": "meta_batch_size",
        "warmup": "warmup_steps",
        "decay_of": "weight_decay_of",
        "fall": "cosine",
        "floor": "min_lr",
        "plateau": "plateau_patience",
        "check_every": "eval_every",
        "check_personas": "eval_personas",
    },
    "inner": {**_OPTIMIZER, "anchor": "distill_weight"},
    "method": {
        "adapts": "trainable",
        "learns": "trainable",
        "hold": "unadapted_loss_weight",
        "rates": "lr_mode",
        "rate_steps": "lr_steps",
        "recursion": "recompute",
        "keep": "keep_share",
        "sparsity": "l1_weight",
        "l1": "l1_step",
        "limit": "max_new_tokens",
        "draws": "num_latents",
        "bonus": "entropy_bonus",
        "supervised": "supervised_weight",
        "unfreezes": "train_generator",
        "generators": "generator_steps",
        "critics": "critic_steps",
        "generator_rate": "generator_lr_scale",
        "critic_rate": "critic_lr_scale",
        "play": "policy_loss_weight",
        "begins": "start_after",
        "games": "num_games",
        "turns": "num_replies",
    },
    "model": {
        "start": "init_from",
        "layout": "chat_format",
        "limit": "max_length",
        "size": "hidden_size",
        "width": "hidden_size",
        "layers": "num_layers",
        "heads": "num_heads",
        "inner": "intermediate_size",
        "positions": "max_positions",
        "vocabulary": "vocab_size",
        "profile_vocabulary": "profile_vocab_size",
        "least_said": "min_count",
        "vectors": "word_vectors",
        "smoothing": "label_smoothing",
        "roles": "num_roles",
        "turns": "max_turns",
        "utterance": "max_utterance_tokens",
        "reply": "max_reply_tokens",
        "facts": "max_facts",
        "fact_tokens": "max_fact_tokens",
        "latents": "num_latents",
        "latent": "latent_size",
        "samples": "num_samples",
        "considered": "top_latents",
        "entropy": "entropy_weight",
        "usage": "mutual_info_weight",
        "bag": "bow",
        "bag_weight": "bow_weight",
        "bag_end": "bow_end",
        "wrong_replies": "num_negatives",
        "rivals": "num_negatives",
        "choices": "num_choice_exchanges",
        "kinds": "token_types",
        "choice_weight": "next_utterance_weight",
        "reading_weight": "lm_loss_weight",
        "users": "num_users",
        "adapter_size": "adapter_bottleneck",
        "keep": "keep_activations",
    },
    "adapters": {},  # size: by kind, see ADAPTER_SIZE
    "data": {
        "cap": "max_dialogues",
        "test_cap": "max_test_dialogues",
        "cap_by": "select_dialogues",
        "cap_seed": "select_seed",
        "needed": "min_heldout_dialogues",
        "least": "min_train_dialogues",
        "turns": "max_turns",
        "group": "task_by",
        "facts": "with_facts",
        "distinct": "dedup",
        "held_most": "max_heldout_tasks",
        "train_most": "total_train_dialogues",
        "test_ids": "test_id_prefixes",
        "valid_ids": "valid_id_prefixes",
        "test_people": "test_speakers",
        "test_count": "num_test_personas",
        "valid_count": "num_valid_personas",
        "users": "user_subset",
        "users_count": "num_users",
        "held": "eval_files",
        "share": "eval_share",
    },
    "learning": {
        **_OPTIMIZER,
        "warmup": "warmup_ratio",
        "fall": "linear_decay",
        "choose": "validation_share",
        "balance": "class_balance",
    },
    "scorer": {"words": "vocab_size", "least": "min_count", "limit": "max_length", "width": "hidden_size"},
    "ranker": {**_OPTIMIZER, "aside": "validation_share", "limit": "max_new_tokens"},
}
ADAPTER_SIZE = {"lora": "rank", "prompt": "num_virtual_tokens"}  # else the bottleneck
_LATENT_POLICY = {"hold": "reference_loss_weight"}
FLAGS: Mapping[str, str] = {
    "--side": "--split",
    "--limit": "--max-new-tokens",
    "--least": "--min-new-tokens",
    "--nucleus": "--top-p",
    "--beam": "--num-beams",
    "--find-rate": "--find-lr",
    "--needed": "--min-heldout-dialogues",
}
SAMPLE_FIELDS: Mapping[str, str] = {
    "reference_nats": "reference_nll",
    "posterior_nats": "posterior_nll",
    "best_nats": "best_nll",
    "auxiliary_nats": "auxiliary_nll",
    "verdicts": "nli_labels",
}
_WEIGHTS: Mapping[str, str] = {"voice.": "lm.", "transmitter.voice.": "transmitter.lm."}  # prefixes of names
_TENSORS = {"kind_rows": "token_type_embeddings"}  # parts of names


class EarlierNames(UserWarning):
    """A file has names of an earlier version; it was read under today's names."""


def renamed_settings(plain: Mapping[str, Any], scope: str = "run", source: str = "") -> dict[str, Any]:
    """Return saved settings under today's names, with one warning (EarlierNames) if some had earlier names.

    ``scope`` is the scope of ``plain``; nested scopes are found by their names. The warning names ``source``, the file.
    """
    changed: list[str] = []
    settings = _renamed(plain, scope, "", changed)
    _name_the_bases_own_format(settings.get("model", settings) if scope == "run" else settings)
    if changed:
        first = ", ".join(changed[:3]) + (", …" if len(changed) > 3 else "")
        where = f"{source}: " if source else ""
        warnings.warn(f"{where}settings of an earlier version, read under today's names ({first})", EarlierNames, 3)
    return settings


def _name_the_bases_own_format(model: Any) -> None:
    """Set the chat format ``chat``, the default of then, to today's default where the two are the same format."""
    if isinstance(model, dict) and model.get("chat_format") == "chat" and model.get("base") in BASES:
        model["chat_format"] = "auto"


def _renamed(plain: Mapping[str, Any], scope: str, path: str, changed: list[str]) -> dict[str, Any]:
    table = SETTINGS.get(scope, {})
    if scope == "method" and plain.get("name") == "latent-policy":
        table = {**table, **_LATENT_POLICY}
    settings: dict[str, Any] = {}
    for old, value in plain.items():
        is_part = isinstance(value, Mapping)
        name = old if is_part else table.get(old, old)
        if scope == "adapters" and old == "size":
            name = ADAPTER_SIZE.get(str(plain.get("kind")), "bottleneck")
        if name != old:
            changed.append(f"{path}{old} is {name}")
        if name == "trainable" and isinstance(value, str):
            value = _renamed_parts(value)
        settings[name] = _renamed(value, old, f"{path}{old}.", changed) if is_part else value
    return settings


def _renamed_parts(trainable: str) -> str:
    """Return comma-separated parts of parameter names under today's names."""
    return ",".join(renamed_weight(part) for part in trainable.split(","))


def renamed_weight(name: str) -> str:
    """Return a weight's name as it is today."""
    for old, new in _WEIGHTS.items():
        if name.startswith(old):
            name = new + name.removeprefix(old)
            break
    return "".join(_TENSORS.get(part, part) for part in re.split(r"([./])", name))


def renamed_weights(weights: Mapping[str, T]) -> dict[str, T]:
    """Return weights under today's names, in the same order."""
    return {renamed_weight(name): value for name, value in weights.items()}


def names_now(old: str) -> Iterator[str]:
    """Yield the possible present names of a setting, in any scope."""
    if old == "size":
        yield from ("bottleneck", "rank", "num_virtual_tokens")
    for table in (*SETTINGS.values(), _LATENT_POLICY):
        if old in table:
            yield table[old]
