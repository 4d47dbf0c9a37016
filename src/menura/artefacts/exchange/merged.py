"""LoRA is added to its base, W + B A, and the sum is written as a model folder that transformers and others load."""

from collections.abc import Sequence
from pathlib import Path
from shutil import copyfile

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast
from transformers.pytorch_utils import Conv1D

from menura.artefacts.bases.base import LoadedBase
from menura.artefacts.bases.dtype import DTYPES, Dtype
from menura.artefacts.bases.files import CONFIG, BaseFiles
from menura.artefacts.bases.quiet import quiet
from menura.artefacts.exchange.lora import PortableLora
from menura.artefacts.exchange.peft_folder import check_free
from menura.artefacts.files import new_folder
from menura.corpus.atomic_files import reporting


@torch.no_grad()
def merge(network: PreTrainedModel, lora: PortableLora) -> None:
    """Add B A to the weights of a network, computed in float32 and then rounded to the weights' type."""
    modules = dict(network.named_modules())
    for name, (down, up) in lora.maps.items():
        module = modules[name]
        weight = module.weight
        assert isinstance(weight, Tensor)
        added = up @ down
        weight.copy_(weight.float() + (added.T if isinstance(module, Conv1D) else added))


def stored_dtype(files: BaseFiles, dtype: Dtype) -> torch.dtype:
    """Return the number type to write: that in which the base is stored, unless one is named."""
    return DTYPES.get(dtype, files.stored)


def write_model(folder: Path, base: LoadedBase, template: str, dtype: torch.dtype) -> None:
    """Write a network with its tokenizer and chat template as an ordinary model folder, atomically.

    ``template`` is empty where there is none. The network is changed to ``dtype``. Raises ConfigError where the folder
    is not empty.
    """
    check_free(folder)
    tokenizer = _ended_by(base.hf_tokenizer, template)
    network = base.network.to(dtype)
    _stop_at(network, base.end_ids)
    with new_folder(folder) as made, reporting(folder), quiet():
        network.save_pretrained(made, safe_serialization=True)
        tokenizer.save_pretrained(made)


def copy_model(folder: Path, files: BaseFiles, base: LoadedBase, template: str) -> None:
    """Write a base as it is, its weights byte by byte, with the tokenizer settings and the chat template it needs.

    Personas made for the base fit the copy. Raises ConfigError where the folder is not empty.
    """
    check_free(folder)
    with new_folder(folder) as made, reporting(folder), quiet():
        _ended_by(base.hf_tokenizer, template).save_pretrained(made)
        for path in (files.folder / CONFIG, *files.weights, *files.folder.glob("*.index.json"), files.vocabulary):
            copyfile(path, made / path.name)
        _stop_at(base.network, base.end_ids)
        if base.network.generation_config is not None:
            base.network.generation_config.save_pretrained(made)


def _ended_by(tokenizer: PreTrainedTokenizerFast, template: str) -> PreTrainedTokenizerFast:
    tokenizer.chat_template = template or None
    return tokenizer


def _stop_at(network: PreTrainedModel, end_ids: Sequence[int]) -> None:
    """Let generation stop at all ids that end a reply, as ours does."""
    settings = network.generation_config
    if settings is not None and end_ids:
        settings.eos_token_id = list(end_ids)
        settings._from_model_config = False  # else transformers takes those of config.json
