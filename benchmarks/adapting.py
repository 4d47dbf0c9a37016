"""Row group 2: a persona's weights from eight sequences, five steps."""

import copy
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from benchmarks.material import network, ours, ragged
from benchmarks.paired import Ratio, Row, Way, against, timed
from benchmarks.peers.padded import loss, padded, twin
from menura.adaptation.finetune import Finetune
from menura.adaptation.inner_loop import InnerLoop
from menura.batches.encode import EncodedDialogue
from menura.models.causal_lm.model import CausalLm

STEPS, BATCH = 5, 8
RATE = 1e-3
WHAT = f"adapting a persona, {STEPS} steps of {BATCH} sequences"


def rows() -> dict[str, Row]:
    """Return the rows by name."""
    return {"adapting": run}


def run(rounds: int) -> Iterator[Ratio]:
    """Compare ours, with empty caches, with full fine-tuning and with peft's LoRA."""
    support = ragged(BATCH, seed=3)
    model = ours(network(), "upper")
    whole = ours(network(), "none")
    ways: dict[str, Way] = {
        "menura": partial(adapt, model, support),
        "full fine-tune, as a Trainer does it": partial(fine_tune, twin(whole, "sdpa"), support),
        "peft LoRA, rank 8": partial(fine_tune, lora(whole), support),
        "menura, all parameters": partial(adapt, whole, support),
    }
    promised = {"full fine-tune, as a Trainer does it": 2.5, "peft LoRA, rank 8": 2.0}
    seconds = timed(ways, rounds)
    yield from against(f"{WHAT}, adapters in the upper half", "menura", seconds, promised)
    yield against(f"{WHAT}, all parameters", "menura, all parameters", seconds, {})[0]


def adapt(model: CausalLm, support: Sequence[EncodedDialogue]) -> None:
    """Adapt with empty caches."""
    model.forget_lower()
    Finetune(InnerLoop(lr=RATE, epochs=STEPS, batch_size=BATCH, optimizer="adam")).adapt(model, support)


def lora(whole: CausalLm) -> nn.Module:
    """Wrap the network by peft."""
    base = twin(whole, "sdpa")
    return get_peft_model(base, LoraConfig(r=8, target_modules=["c_attn"], fan_in_fan_out=True)).eval()


def fine_tune(network: nn.Module, support: Sequence[EncodedDialogue]) -> None:
    """Run the steps of a Trainer on a padded batch: forward, backward, clip, AdamW; then put the weights back.

    Dropout is off, so that all do the same sums; putting back is part of what a persona costs in place.
    """
    own = {name: p for name, p in network.named_parameters() if p.requires_grad}
    begun = copy.deepcopy({name: p.detach() for name, p in own.items()})
    optimizer = torch.optim.AdamW(own.values(), lr=RATE)
    rows = padded(support)
    for _ in range(STEPS):
        loss(network, rows).backward()
        nn.utils.clip_grad_norm_(own.values(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(begun[name])
