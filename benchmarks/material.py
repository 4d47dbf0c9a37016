"""What all rows share: a random GPT-2 and ragged sequences of random tokens, the same for ours and for every peer."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from menura.batches.encode import EncodedDialogue, EncodedEpisode, EncodedExchange
from menura.models.causal_lm.config import CausalLmConfig
from menura.models.causal_lm.model import CausalLm
from menura.models.layers.adapters import Adapters

SHORTEST, LONGEST = 24, 64  # tokens a sequence
LABELS = 0.2  # the share of each sequence that carries loss: its end
ADAPTER = 64  # the bottleneck of the Houlsby adapters
STIRRED = 0.02  # away from the start, at which half of the adapters' gradient is zero

Layers = Literal["upper", "all", "none"]  # which layers carry adapters; none: all parameters adapt


@dataclass(frozen=True)
class Size:
    """A GPT-2; the values are those of performance.md, section 2."""

    width: int = 256
    depth: int = 4
    heads: int = 8
    vocabulary: int = 8192


SMALL = Size()
GPT2_124M = Size(768, 12, 12, 50257)


def network(size: Size = SMALL, *, head_deviation: float = 0.0) -> GPT2LMHeadModel:
    """Make a GPT-2 of random weights that never ends a text.

    Its head is its embedding, or of its own with weights of this deviation: the larger, the surer the next token.
    """
    config = GPT2Config(
        vocab_size=size.vocabulary,
        n_positions=512,
        n_embd=size.width,
        n_layer=size.depth,
        n_head=size.heads,
        bos_token_id=None,
        tie_word_embeddings=not head_deviation,
    )
    config.eos_token_id = None
    torch.manual_seed(0)
    made = GPT2LMHeadModel(config).eval()
    if head_deviation:
        nn.init.normal_(made.lm_head.weight, std=head_deviation)
    return made


def ours(base: GPT2LMHeadModel, layers: Layers, *, size: int = ADAPTER) -> CausalLm:
    """Build our model around a network; what adapts is moved a little, so that every gradient is there."""
    kind: Literal["none", "houlsby"] = "none" if layers == "none" else "houlsby"
    adapters = Adapters(
        kind, bottleneck=size, rank=size, num_virtual_tokens=size, layers="all" if layers == "none" else layers
    )
    model = CausalLm(base, CausalLmConfig("random", "plain", 512, adapters)).eval()
    if layers != "none":
        stir(model)
    return model


@torch.no_grad()
def stir(model: nn.Module) -> None:
    """Move every parameter that adapts, at random."""
    stream = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter += STIRRED * torch.randn(parameter.shape, generator=stream)


def exchange(stream: random.Random, length: int, vocabulary: int) -> EncodedExchange:
    """Make one sequence of random tokens, its last fifth the reply."""
    ids = tuple(stream.randrange(vocabulary) for _ in range(length))
    reply = round(length * LABELS)
    return EncodedExchange("random", f"d{stream.random()}", (), ids[:-reply], ids[-reply:])


def ragged(count: int, seed: int, vocabulary: int = SMALL.vocabulary) -> tuple[EncodedDialogue, ...]:
    """Make dialogues of one exchange each, their lengths drawn evenly; the first is the longest there can be."""
    stream = random.Random(seed)
    lengths = [LONGEST, *(stream.randint(SHORTEST, LONGEST) for _ in range(count - 1))]
    return tuple((exchange(stream, length, vocabulary),) for length in lengths)


def episodes(tasks: int, rows: int, vocabulary: int = SMALL.vocabulary) -> list[EncodedEpisode]:
    """Make ``tasks`` episodes of ``rows`` support and as many query sequences."""
    return [
        EncodedEpisode("random", ragged(rows, 2 * task, vocabulary), ragged(rows, 2 * task + 1, vocabulary))
        for task in range(tasks)
    ]


def flat(dialogues: Sequence[EncodedDialogue]) -> list[EncodedExchange]:
    """Return all exchanges in order."""
    return [exchange for dialogue in dialogues for exchange in dialogue]
