"""What a ``config.json`` says a network is, and the refusal of each kind that is no causal language model as it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from menura.errors import DataError, UnsafeError, shown

OTHERS = "menura base list"  # a command that shows the bases which do serve
CLASSIFIERS = ("Classification", "QuestionAnswering", "MultipleChoice", "RewardModel")
OTHER_INPUTS = {"vision_config": "images", "audio_config": "sound"}
QUANTISED = {  # by ``quant_method``
    "awq": "AWQ",
    "bitsandbytes": "bitsandbytes",
    "compressed-tensors": "compressed-tensors",
    "fbgemm_fp8": "FP8",
    "fp8": "FP8",
    "gptq": "GPTQ",
    "mxfp4": "MXFP4",
}


def check_kind(config: Mapping[str, Any], place: Path) -> None:
    """Check that a configuration is that of a causal language model with plain weights, without reading these.

    Raises DataError for a quantised network, an unknown or another kind, UnsafeError for one with code of its own.
    Where transformers has the network itself, code beside the weights is no reason: it is never run.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or not kind:
        raise DataError("it names no model_type", place=str(place), hint=OTHERS, code="schema")
    if kind not in CONFIG_MAPPING_NAMES:
        if "auto_map" in config:
            raise own_code(kind, place)
        message = f"transformers {transformers.__version__} knows no model_type {shown(kind)}, a newer one may"
        raise DataError(
            message, place=str(place), hint="pip install --upgrade transformers", code="unknown_architecture"
        )
    _check_quantisation(config, place)
    _check_architecture(kind, config, place)


def own_code(name: str, place: Path) -> UnsafeError:
    """Return the refusal of code that comes with weights."""
    message = f"{shown(name)} needs code of its own (auto_map), which is not run"
    return UnsafeError(message, place=str(place), hint=OTHERS, code="own_code")


def _check_quantisation(config: Mapping[str, Any], place: Path) -> None:
    inner = config.get("text_config")
    settings = config.get("quantization_config") or (inner or {}).get("quantization_config")
    if not settings:
        return
    method = str(settings.get("quant_method", "")) if isinstance(settings, Mapping) else ""
    if not method and isinstance(settings, Mapping) and any(key.startswith("load_in_") for key in settings):
        method = "bitsandbytes"
    raise quantised(QUANTISED.get(method, method or "in an unnamed way"), place)


def quantised(how: str, place: Path) -> DataError:
    """Return the refusal of weights quantised in a way that only an inference engine reads."""
    message = f"the weights are quantised ({how}); the unquantised model of the same name, or its .gguf file, serves"
    return DataError(message, place=str(place), hint=OTHERS, code="quantised")


def _check_architecture(kind: str, config: Mapping[str, Any], place: Path) -> None:
    named = config.get("architectures") or [""]
    name = str(named[0]) if isinstance(named, list) else ""
    shown_name = name or kind

    def refused(what: str, code: str) -> DataError:
        message = f"{shown_name} {what}; a causal language model is wanted"
        return DataError(message, place=str(place), hint=OTHERS, code=code)

    inputs = [what for key, what in OTHER_INPUTS.items() if config.get(key)]
    causal = str(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind, ""))
    if inputs and causal.endswith("ForCausalLM") and name != causal:
        return  # transformers has a network of the text part alone, and leaves the rest of the weights out
    if inputs:
        raise refused(f"reads {' and '.join(inputs)} as well as text", "image_text")
    if config.get("is_encoder_decoder"):
        raise refused("is an encoder-decoder", "encoder_decoder")
    if any(part in name for part in CLASSIFIERS):
        raise refused("is a classifier", "classifier")
    masked = name.endswith("ForMaskedLM") or (not name and kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES)
    if masked or (name == MODEL_MAPPING_NAMES.get(kind) and kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES):
        raise refused("is a masked language model", "masked_lm")
    # A network saved without its head is one as well, if the head is the embedding; loading checks that.
    if not causal or name not in {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values(), MODEL_MAPPING_NAMES.get(kind), ""}:
        raise refused("is another kind of network", "not_causal_lm")
