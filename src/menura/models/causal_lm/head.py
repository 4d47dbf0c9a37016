"""The last hidden state becomes logits, whatever the network does in between: a bias, a scale, a soft cap.

Shape letters: ``…`` any leading dimensions, D width, V vocabulary, S rows of the chat format's own tokens.
"""

from contextlib import ExitStack
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast

from menura.errors import MismatchError
from menura.models.causal_lm.functional_layers import linear_map, qualified_name
from menura.models.causal_lm.hf_modules import standing_in

# Whose logits are the output embedding's map of the last hidden state and nothing else.
LINEAR_HEADS = {
    f"transformers.models.{name}"
    for name in (
        "gpt2.modeling_gpt2.GPT2LMHeadModel",
        "llama.modeling_llama.LlamaForCausalLM",
        "qwen2.modeling_qwen2.Qwen2ForCausalLM",
        "qwen3.modeling_qwen3.Qwen3ForCausalLM",
        "mistral.modeling_mistral.MistralForCausalLM",
        "ernie4_5.modeling_ernie4_5.Ernie4_5ForCausalLM",
        "smollm3.modeling_smollm3.SmolLM3ForCausalLM",
    )
}


class Head(Protocol):
    """What makes logits of hidden states."""

    def __call__(self, hidden: Tensor, special_rows: Tensor | None) -> Tensor:
        """Return logits (…, V + S) from (…, D); S rows (S, D) are output embeddings beside the network's own."""


def head_of(network: PreTrainedModel) -> Head:
    """Return the output embedding where it is all there is to the head, else the network's own forward pass."""
    return LinearHead(network) if qualified_name(network) in LINEAR_HEADS else OwnHead(network)


class LinearHead:
    """The output embedding."""

    def __init__(self, network: PreTrainedModel) -> None:
        self._output = network.get_output_embeddings()

    def __call__(self, hidden: Tensor, special_rows: Tensor | None) -> Tensor:
        """Map."""
        return _beside(linear_map(self._output)(hidden), hidden, special_rows)


class OwnHead:
    """The network's own forward pass, in which the hidden states stand for all that is below the head."""

    def __init__(self, network: PreTrainedModel) -> None:
        self._network = network
        base = network.base_model
        # Some heads call the decoder inside the base model (OPT).
        self._below = [base, *(part for part in [getattr(base, "decoder", None)] if isinstance(part, nn.Module))]

    def __call__(self, hidden: Tensor, special_rows: Tensor | None) -> Tensor:
        """Run it; MismatchError if it calls something else below its head."""
        row = hidden.reshape(1, -1, hidden.shape[-1])
        called = []

        def returning(*arguments: Any, **named: Any) -> "_Output":
            del arguments, named
            called.append(True)
            return _Output(last_hidden_state=row)

        with ExitStack() as standing:
            standing.enter_context(standing_in(self._below, [returning] * len(self._below)))
            if special_rows is not None:
                # In the output embedding itself, so that scale and cap are those of all other tokens.
                output = self._network.get_output_embeddings()
                own = output.forward

                def widened(states: Tensor) -> Tensor:
                    return _beside(own(states), states, special_rows)

                standing.enter_context(standing_in([output], [widened]))
            logits: Tensor = self._network(inputs_embeds=row, use_cache=False).logits
        if not called:
            raise MismatchError(f"{type(self._network).__name__}: its head does not stand on its base model")
        return logits.view(*hidden.shape[:-1], -1)


class _Output(BaseModelOutputWithPast):  # type: ignore[misc]  # transformers ships no types for it
    """A base model's output; what a family adds to it (a state, a router's logits) is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)


def _beside(logits: Tensor, hidden: Tensor, special_rows: Tensor | None) -> Tensor:
    if special_rows is None:
        return logits
    own = hidden.to(special_rows.dtype) @ special_rows.T
    return torch.cat([logits, own], -1)
