"""Row group 3: 32 tokens after 32 tokens, a batch at a time."""

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from benchmarks.material import exchange, network, ours
from benchmarks.paired import Ratio, Row, Way, against, timed
from menura.artefacts.bases.base import on_disk
from menura.artefacts.loading import LoadOptions
from menura.batches.batch import Batch
from menura.decoding.generate import generate
from menura.decoding.sampling import Choice, Greedy, Nucleus
from menura.errors import MismatchError
from menura.models.causal_lm.config import CausalLmConfig, without_adapters
from menura.models.causal_lm.model import CausalLm
from menura.registry import load_model

PROMPT, NEW = 32, 32  # tokens
PEER = "transformers.generate"
LARGE = "smollm2-135m"
P = 0.9
# The random network's nuclei then hold 36 tokens (median); SmolLM2's on a paragraph of plain English hold 34.
HEAD_DEVIATION = 0.28
AT_LEAST = {("greedy", 1): 1.8, ("greedy", 32): 1.2}


def rows() -> dict[str, Row]:
    """Return the rows by name; the one with a trained base needs it on this machine."""
    found: dict[str, Row] = {f"greedy-{count}": partial(run, Greedy(), count) for count in (1, 8, 32)}
    found |= {f"nucleus-{count}": partial(run, Nucleus(P), count) for count in (1, 32)}
    return found | {"greedy-1-smollm2": trained}


def run(choice: Choice, count: int, rounds: int) -> Iterator[Ratio]:
    """Compare on the random network, without adapters."""
    model = ours(network(head_deviation=HEAD_DEVIATION), "none")
    what = f"generation, {choice.signature.split('(')[0]}, batch {count}"
    promised = AT_LEAST.get((choice.signature.split("(")[0], count))
    yield from compared(what, model, prompts(model, count, model.network.config.vocab_size), choice, rounds, promised)


def trained(rounds: int) -> Iterator[Ratio]:
    """Compare on the default base, batch 1; nothing where it is not installed."""
    if LARGE not in [base.name for base in on_disk()]:
        print(f"  {LARGE} is not installed: left out", flush=True)
        return
    model = load_model(without_adapters(CausalLmConfig(LARGE)), LoadOptions(offline=True)).model
    batch = prompts(model, 1, model.network.config.vocab_size)
    yield from compared(f"generation, greedy, batch 1, {LARGE}", model, batch, Greedy(), rounds, None)


def prompts(model: CausalLm, count: int, vocabulary: int) -> Batch:
    """Make prompts of random tokens, all of one length."""
    stream = random.Random(4)
    return model.batch([replace(exchange(stream, PROMPT + 8, vocabulary), reply=()) for _ in range(count)])


def compared(
    what: str, model: CausalLm, batch: Batch, choice: Choice, rounds: int, promised: float | None
) -> Iterator[Ratio]:
    """Time both; MismatchError if they do not write the same where nothing is drawn."""
    greedy = isinstance(choice, Greedy)
    ways: dict[str, Way] = {
        "menura": partial(our_way, model, batch, choice),
        PEER: partial(their_way, model.network, batch, sampling=not greedy),
    }
    if greedy and ways["menura"]() != ways[PEER]():
        raise MismatchError(f"{what}: not the tokens that {PEER} writes")
    yield from against(what, "menura", timed(ways, rounds), {PEER: promised} if promised else {})


def our_way(model: CausalLm, batch: Batch, choice: Choice) -> list[list[int]]:
    """Generate; no token ends a reply, so that both write all."""
    return generate(model, batch, choice, end=-1, max_new_tokens=NEW, seeds=range(len(batch)))


def their_way(network: PreTrainedModel, batch: Batch, *, sampling: bool) -> list[list[int]]:
    """Generate with the library's own loop and cache."""
    settings = {"top_p": P, "top_k": 0} if sampling else {}
    with torch.no_grad():
        written: Tensor = network.generate(
            input_ids=batch.prefix.ids,
            attention_mask=batch.prefix.mask.long(),
            do_sample=sampling,
            max_new_tokens=NEW,
            min_new_tokens=None,
            eos_token_id=None,
            pad_token_id=0,
            **settings,
        )
    found: list[list[int]] = written[:, batch.prefix.ids.shape[1] :].tolist()
    return found
