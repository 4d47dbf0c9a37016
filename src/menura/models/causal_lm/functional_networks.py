"""Which networks are known as plain functions: by class, as a subclass may compute something else."""

from collections.abc import Callable
from typing import Any

from torch import nn

from menura.models.causal_lm.functional_gpt2 import Gpt2, gpt2_fits
from menura.models.causal_lm.functional_layers import FunctionalNetwork, qualified_name
from menura.models.causal_lm.functional_llama import (
    Ernie,
    Gemma3,
    Granite,
    Llama,
    Mistral,
    gemma3_fits,
    llama_fits,
)


def functional_network(network: nn.Module) -> FunctionalNetwork | None:
    """Return a network without its head as functions; None if its layers are not known here."""
    form = NETWORKS.get(qualified_name(network))
    if form is None:
        return None
    make, fits = form
    return make(network) if fits(network.config) else None


NETWORKS: dict[str, tuple[Callable[[Any], FunctionalNetwork], Callable[[Any], bool]]] = {
    "transformers.models.gpt2.modeling_gpt2.GPT2Model": (Gpt2, gpt2_fits),
    "transformers.models.llama.modeling_llama.LlamaModel": (Llama, llama_fits),
    "transformers.models.qwen2.modeling_qwen2.Qwen2Model": (Llama, llama_fits),
    "transformers.models.qwen3.modeling_qwen3.Qwen3Model": (Llama, llama_fits),
    "transformers.models.mistral.modeling_mistral.MistralModel": (Mistral, llama_fits),
    "transformers.models.granite.modeling_granite.GraniteModel": (Granite, llama_fits),
    "transformers.models.ernie4_5.modeling_ernie4_5.Ernie4_5Model": (Ernie, llama_fits),
    "transformers.models.smollm3.modeling_smollm3.SmolLM3Model": (Llama, llama_fits),
    "transformers.models.gemma3.modeling_gemma3.Gemma3TextModel": (Gemma3, gemma3_fits),
}
