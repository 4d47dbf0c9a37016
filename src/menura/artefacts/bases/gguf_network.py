"""A GGUF file becomes a network, through transformers' reader."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from menura.artefacts.bases.dtype import gigabytes
from menura.artefacts.bases.gguf_header import ROPE_FACTORS, GgufHeader
from menura.artefacts.bases.kinds import OTHERS
from menura.artefacts.bases.network import CONTRADICTIONS, key_problems, tensor_problems, unreadable
from menura.artefacts.bases.quiet import quiet
from menura.errors import DataError, Problem

# Llama 3.1 to 3.3, the only models whose GGUF stores its rope scaling as a tensor; the factor is read from it.
LLAMA3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA3_POSITIONS = 8192


def load_gguf(header: GgufHeader, dtype: torch.dtype, say: Callable[[str], None]) -> PreTrainedModel:
    """Return the network of a GGUF file in evaluation mode, its weights unpacked to ``dtype``.

    Raises DataError, with every tensor that is missing, of another shape or not finite, or left over.
    """
    needed = gigabytes(header.parameters * dtype.itemsize)
    say(f"gguf   {header.architecture} {header.quantisation}, {header.parameters:,} values, {needed} unpacked")
    place = str(header.path)
    with quiet(), contextlib.redirect_stderr(io.StringIO()):  # tqdm's bar asks no logger
        try:
            config = AutoConfig.from_pretrained(header.path.parent, gguf_file=header.path.name)
            if header.rope_factors is not None:
                _scale_rope(config, header)
            network, info = AutoModelForCausalLM.from_pretrained(
                header.path.parent,
                config=config,
                gguf_file=header.path.name,
                dtype=dtype,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
        except CONTRADICTIONS as error:
            raise unreadable(error, place) from error
    problems = [*key_problems(info, place), *tensor_problems(network, place)] or _left_over(network, header)
    if problems:
        raise DataError.of(problems)
    # The weights are unpacked, so nothing of transformers' quantisation is left but its marks.
    network.hf_quantizer = None
    for name in ("quantization_config", "_pre_quantization_dtype"):
        if hasattr(network.config, name):
            delattr(network.config, name)
    if header.eos_ids and network.generation_config is not None:
        network.generation_config.eos_token_id = list(header.eos_ids)
    made: PreTrainedModel = network.eval()
    return made


def _scale_rope(config: Any, header: GgufHeader) -> None:
    """Set the rope scaling that a tensor of factors stands for: transformers leaves it out, and would be wrong."""
    assert header.rope_factors is not None, "asked only where there are factors"
    plain = dict(config.rope_parameters or {})
    factor = float(header.rope_factors.max())
    config.rope_parameters = {
        **plain,
        **LLAMA3,
        "factor": factor,
        "original_max_position_embeddings": LLAMA3_POSITIONS,
    }
    size = 2 * header.rope_factors.numel()
    unscaled = plain.get("rope_theta", 10_000.0) ** -(torch.arange(0, size, 2).float() / size)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    if scaled.shape != unscaled.shape or not torch.allclose(unscaled / header.rope_factors, scaled, rtol=1e-3):
        message = f"{ROPE_FACTORS} is no scaling that is known; the folder of the same model serves"
        raise DataError(message, place=str(header.path), hint=OTHERS, code="gguf_rope")


def _left_over(network: PreTrainedModel, header: GgufHeader) -> list[Problem]:
    """Return a problem if the file has more values than the network took; a tied head may stand in it twice."""
    taken = sum(value.numel() for value in network.parameters())
    twice = header.tensors.get("output.weight", 0) if network.config.tie_word_embeddings else 0
    if header.parameters - taken in (0, twice):
        return []
    message = f"the file has {header.parameters:,} values, the network {taken:,}: parts of it would be left out"
    return [Problem("tensor_unexpected", message, place=str(header.path), hint=OTHERS)]
