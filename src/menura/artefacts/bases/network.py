"""Weights become a network, all of them or none: nothing is left out and nothing filled with random numbers."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from menura.artefacts.bases.files import CONFIG, BaseFiles
from menura.artefacts.bases.kinds import OTHERS
from menura.artefacts.bases.quiet import quiet
from menura.errors import DataError, Problem

# What transformers raises on files that contradict one another; settings of others can be of any type and size.
CONTRADICTIONS = (
    *(SafetensorError, OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, IndexError),
    *(ImportError, ZeroDivisionError, OverflowError, NotImplementedError, AssertionError, StrictDataclassError),
)
# Causal masks that old checkpoints store as weights, beside those that transformers leaves out itself.
MASK_NAME = re.compile(r"\.(attn|attention)\.(masked_)?bias$")


def load_network(files: BaseFiles, dtype: torch.dtype) -> PreTrainedModel:
    """Return the network of a folder in evaluation mode; tied heads share one tensor.

    Raises DataError, with every tensor that is missing, unexpected, of another shape or not finite, and for settings
    that transformers cannot make a network of.
    """
    place = str(files.folder)
    with quiet(), torch.random.fork_rng(devices=[]):  # some networks draw numbers that are then overwritten
        try:
            # Other shapes are reported below with all the rest, not at the first.
            network, info = AutoModelForCausalLM.from_pretrained(
                files.folder,
                dtype=dtype,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except CONTRADICTIONS as error:
            raise unreadable(error, place) from error
    masks = _stored_masks(files, info["unexpected_keys"])
    problems = [*key_problems(info, place, but=masks), *tensor_problems(network, place)]
    if problems:
        raise DataError.of(problems)
    made: PreTrainedModel = network.eval()
    return made


def unreadable(error: BaseException, place: str) -> DataError:
    """Return the refusal of files that transformers gave up on, with its first line of reasons."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = f"transformers cannot make a network of it: {(lines or [type(error).__name__])[0][:200]}"
    return DataError(message, place=place, hint=OTHERS, code="base_unreadable")


def key_problems(info: Mapping[str, Any], place: str, *, but: frozenset[str] = frozenset()) -> list[Problem]:
    """Return what transformers' loading info has against the weights; names in ``but`` may be unexpected.

    Weights and ``config.json`` are then not of the same model, or not whole.
    """

    def problem(code: str, message: str) -> Problem:
        return Problem(code, message, place=place, hint=OTHERS)

    missing = [problem("tensor_missing", f"{name} is missing") for name in sorted(info["missing_keys"])]
    further = [
        problem("tensor_unexpected", f"{name} has no place in the network")
        for name in sorted(set(info["unexpected_keys"]) - but)
    ]
    shapes = [
        problem("tensor_shape", f"{name} is {tuple(shape)}, wanted {tuple(wanted)}")
        for name, shape, wanted in sorted(info["mismatched_keys"])
    ]
    others = [problem("base_unreadable", str(message)[:200]) for message in info["error_msgs"]]
    return [*missing, *further, *shapes, *others]


def tensor_problems(network: PreTrainedModel, place: str) -> list[Problem]:
    """Return what is wrong with the values of a network: not finite, or a head that should be the embedding."""
    # An embedding in two places is named and read once.
    values = {id(value): (name, value) for name, value in _values(network)}
    broken = [
        Problem("not_finite", f"{name}: {_not_finite(value)} values are not finite", place=place, hint=OTHERS)
        for name, value in values.values()
        if not _is_finite(value)
    ]
    head, embedding = network.get_output_embeddings(), network.get_input_embeddings()
    tied = bool(network.config.get_text_config().tie_word_embeddings and network._tied_weights_keys)
    if tied and head is not None and head.weight is not embedding.weight:
        message = f"the head is not the embedding, as {CONFIG} has it (tie_word_embeddings; false there takes both)"
        broken.append(Problem("tensor_tied", message, place=place, hint=OTHERS))
    return broken


def _values(network: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from network.named_buffers()


def _is_finite(value: Tensor) -> bool:
    """Tell whether all values are finite, without a copy of the tensor as ``isfinite`` makes one."""
    if not value.is_floating_point() or not value.numel():
        return True
    return all(bool(torch.isfinite(end)) for end in value.detach().aminmax())


def _not_finite(value: Tensor) -> int:
    parts = torch.split(value.detach().reshape(-1), 1 << 20)
    return sum(part.numel() - int(torch.isfinite(part).sum()) for part in parts)


def _stored_masks(files: BaseFiles, names: set[str]) -> frozenset[str]:
    """Return which unexpected tensors are causal masks of old checkpoints: of four dimensions, or a single number."""
    wanted = {name for name in names if MASK_NAME.search(name)}
    masks: set[str] = set()
    for path in files.weights if wanted else ():
        with safe_open(path, "pt") as file:
            here = wanted & set(file.keys())
            masks |= {name for name in here if len(file.get_slice(name).get_shape()) in (0, 4)}
    return frozenset(masks)
