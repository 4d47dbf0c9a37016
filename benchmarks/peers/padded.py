"""The peers' network: the same GPT-2 with adapters as its own modules, on padded rows. B rows, L tokens."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import GPT2LMHeadModel

from benchmarks.material import flat
from menura.batches.encode import EncodedDialogue
from menura.models.causal_lm.model import CausalLm

IGNORED = -100  # a label without loss, by transformers' convention
PARTS = {"attention": "attn.resid_dropout", "feed_forward": "mlp.dropout"}


class Bottleneck(nn.Module):
    """A Houlsby adapter as a user writes it: x + W_up gelu(W_down x)."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, size), nn.Linear(size, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (…, D) to (…, D)."""
        added: Tensor = self.up(nn.functional.gelu(self.down(hidden)))
        return hidden + added


def twin(model: CausalLm, attention: Literal["eager", "sdpa"] = "eager", *, copied: bool = True) -> GPT2LMHeadModel:
    """Make our model a network the peers can clone and patch: no hooks, adapters where GPT-2 has its dropouts.

    ``sdpa`` is the default of transformers, but has no second derivative. Not ``copied``, our model is of no more use.
    """
    found = copy.deepcopy(model.network) if copied else model.network
    for module in found.modules():
        module._forward_hooks.clear()
    found.set_attn_implementation(attention)
    for index, block in enumerate(found.transformer.h):
        if str(index) in model.adapters:
            size = dict(model.named_parameters())[f"adapters.{index}.attention.down.weight"].shape[0]
            block.attn.resid_dropout = Bottleneck(found.config.n_embd, size)
            block.mlp.dropout = Bottleneck(found.config.n_embd, size)
    parameters = dict(found.named_parameters())
    with torch.no_grad():
        for name, value in model.named_parameters():
            parameters[peer_name(name)].copy_(value)
    return found.eval()


def peer_name(name: str) -> str:
    """Return the twin's name of one of our parameters."""
    if name.startswith("network."):
        return name.removeprefix("network.")
    _, layer, part, rest = name.split(".", 3)
    return f"transformer.h.{layer}.{PARTS[part]}.{rest}"


@dataclass(frozen=True)
class SequenceLayout:
    """Sequences padded on the right; ``labels`` (B, L) are ids where there is loss and ``IGNORED`` elsewhere."""

    ids: Tensor  # (B, L)
    mask: Tensor | None  # (B, L), 1 where real
    labels: Tensor  # (B, L)


def padded(dialogues: Sequence[EncodedDialogue], length: int | None = None) -> SequenceLayout:
    """Pad to the longest, or to ``length``."""
    exchanges = flat(dialogues)
    length = length or max(len(e.ids) for e in exchanges)
    ids = torch.zeros((len(exchanges), length), dtype=torch.long)
    mask, labels = torch.zeros_like(ids), torch.full_like(ids, IGNORED)
    for row, one in enumerate(exchanges):
        end = len(one.ids)
        ids[row, :end] = torch.tensor(one.ids)
        mask[row, :end] = 1
        labels[row, len(one.prefix) : end] = torch.tensor(one.reply)
    return SequenceLayout(ids, mask, labels)


def loss(network: nn.Module, rows: SequenceLayout) -> Tensor:
    """Return the mean over labels, computed by transformers: every position meets the whole vocabulary."""
    output = network(input_ids=rows.ids, attention_mask=rows.mask, labels=rows.labels, use_cache=False)
    found: Tensor = output.loss
    return found


def adapting(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return what adapts, by name."""
    return {name: p for name, p in network.named_parameters() if p.requires_grad}


def gradients(network: nn.Module) -> dict[str, Tensor]:
    """Return the gradients that were gathered."""
    return {name: p.grad for name, p in adapting(network).items() if p.grad is not None}


def relative_error(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> float:
    """Return ‖found − wanted‖ / ‖wanted‖ over all parameters together; NaN if some are missing."""
    if found.keys() != wanted.keys():
        return float("nan")
    off = sum(float(((found[name].double() - wanted[name].double()) ** 2).sum()) for name in wanted)
    whole = sum(float((wanted[name].double() ** 2).sum()) for name in wanted)
    return (off / whole) ** 0.5
