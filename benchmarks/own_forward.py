"""A base's perplexity as Menura computes it, and by the network's own forward pass in transformers, side by side.

``python -m benchmarks.own_forward gemma3-270m`` reads held-out dialogues of validation speakers of the packaged corpus,
with BOS where the base has one, without any adapter. It fails where the two differ by more than a hundred-thousandth.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

import torch

from menura.artefacts.loaders.causal_lm import LORA
from menura.batches.encode import EncodedExchange
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.dialogue_model import DialogueModel
from menura.training.config import RunConfig
from menura.training.data import DataConfig
from menura.training.run_setup import prepare

SHOTS, QUERIES = 5, 2  # dialogues of a speaker that are left out, and scored
NEAR = 1e-5  # share of the perplexity


def exchanges_of(name: str, speakers: int) -> tuple[DialogueModel[Any], list[EncodedExchange]]:
    """Load a base with fresh adapters, which change nothing, and the exchanges that are scored."""
    config = RunConfig(
        "own-forward", CausalLmConfig(base=name, max_length=768, adapters=LORA), data=DataConfig(max_turns=16)
    )
    prepared = prepare(config, say=print)
    tasks = [task for task in prepared.tasks("valid") if len(task.dialogues) > SHOTS][:speakers]
    chosen = [part for task in tasks for part in task.dialogues[SHOTS : SHOTS + QUERIES]]
    return prepared.loaded.model, [exchange for part in chosen for exchange in part]


def own_nll(model: DialogueModel[Any], exchange: EncodedExchange) -> float:
    """Return the NLL of a reply by the network's own forward pass, in nats."""
    ids = torch.tensor([*exchange.prefix, *exchange.reply])
    with torch.no_grad():
        logits = model.network(input_ids=ids[None], use_cache=False).logits[0, len(exchange.prefix) - 1 : -1]
    # In float32, as transformers' loss: over 262,144 tokens it is some hundred-thousandths of a nat off float64.
    return float(-logits.log_softmax(-1).gather(1, ids[len(exchange.prefix) :, None]).sum())


def main(words: Sequence[str]) -> int:
    """Print both perplexities; return 1 where they differ."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.own_forward", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("base")
    parser.add_argument("--speakers", type=int, default=4)
    asked = parser.parse_args(words)
    model, exchanges = exchanges_of(asked.base, asked.speakers)
    ours = theirs = 0.0
    tokens = sum(len(exchange.reply) for exchange in exchanges)
    for exchange in exchanges:
        with torch.no_grad():
            ours += float(model.loss(model.batch([exchange])).nll.sum())
        theirs += own_nll(model, exchange)
    ppl, own = math.exp(ours / tokens), math.exp(theirs / tokens)
    apart = abs(ppl / own - 1)
    print(f"{len(exchanges)} replies, {tokens} tokens; begins with id {exchanges[0].prefix[0]}")
    print(f"perplexity {ppl:.6f}, by the network's own forward pass {own:.6f}: apart by a share of {apart:.1e}")
    return int(not apart <= NEAR)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
