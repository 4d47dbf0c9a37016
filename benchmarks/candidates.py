"""Row group 6: twenty candidate replies to one context, a latent act each, greedy, 12 and 30 tokens after 256.

The shared context is compared with the same model reading it once a candidate, and one batch with a loop over latents.
``python -m benchmarks.candidates shared`` (or repeated) prints a process's peaks in bytes: loaded, and at the end.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.memory import peak_bytes
from benchmarks.paired import Figures, Ratio, Row, Way, against, timed
from menura.batches.encode import EncodedExchange
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.errors import MismatchError
from menura.models.layers.transformer import Sizes
from menura.models.plato.config import PlatoConfig
from menura.models.plato.model import Plato

SIZES: dict[str, Sizes] = {
    "MiniLM's size": Sizes(30522, 384, 6, 12, 1536),
    "BERT-base's size": Sizes(30522),
}
ROWS = dict(zip(("candidates", "candidates-base"), SIZES, strict=True))
LATENTS = 20
SHORT, LONG = 12, 30  # tokens of a reply: as many as answers of AVSD have on average (11.6), and a long one
TURNS, WORDS = 8, 31  # of the context: 256 tokens with the ends of its turns
OPENS, END = 1, 2
SHARED, REPEATED, LOOP = "menura", "the context read once a candidate", "one latent after the other"
AT_LEAST = {REPEATED: 5.0, LOOP: 3.0}
SHARPER = 8
TIE = 1e-3  # nats: so near are two tokens that rounding may choose between them
ROOM = 2 << 30  # bytes that all candidates may take beside the model


def rows() -> dict[str, Row]:
    """Return the rows by name."""
    return {**{name: partial(run, size) for name, size in ROWS.items()}, "candidates-memory": run_memory}


def run(size: str, rounds: int) -> Iterator[Ratio]:
    """Compare reading and saying, and reading alone; MismatchError if a way does not say what is likeliest."""
    model, prompt = made(SIZES[size]), context(SIZES[size].vocab_size)
    what = f"{LATENTS} candidates, {size}"
    # The longer the replies, the more time goes to what all ways do alike: no ratio is promised for long ones.
    for limit, least in ((SHORT, AT_LEAST), (LONG, {})):
        ways = saying(model, prompt, limit)
        for name, way in ways.items():
            replies = way()
            if [len(reply) for reply in replies] != [limit] * model.latents:
                raise MismatchError(f"{what}: {name} does not say {limit} tokens under each latent")
            lost = below_best(model, prompt, replies)
            print(f"  {limit} tokens, {name}: at most {lost:.1e} nats below the likeliest", flush=True)
            if lost > TIE:
                raise MismatchError(f"{what}: {name} says what is not the likeliest, by {lost:.1e} nats")
        yield from against(f"{what}: reading, and {limit} tokens", SHARED, timed(ways, rounds), least)
    yield from against(f"{what}: reading alone", SHARED, timed(reading(model, prompt), rounds), {})


def run_memory(rounds: int) -> Iterator[Ratio | Figures]:
    """Compare what candidates add to the loaded model, once: memory does not vary."""
    del rounds
    added = {way: peaks(way) for way in ("shared", "repeated")}
    what = f"memory of {LATENTS} candidates beyond the loaded model, MiniLM's size"
    megabytes = tuple((f"context {way}", f"{taken / 1e6:.0f} MB") for way, taken in added.items())
    yield Figures((f"{LATENTS} candidates, MiniLM's size", "beyond the loaded model"), megabytes)
    for peer, theirs, least in ((f"{ROOM >> 30} GiB", ROOM, 1.0), (REPEATED, added["repeated"], None)):
        times = theirs / max(added["shared"], 1)
        yield Ratio(what, peer, times, times, times, 1, least, "less")


def made(sizes: Sizes, latents: int = LATENTS) -> Plato:
    """Make a model of random weights whose latents share the context."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Plato(
            PlatoConfig(init="random", num_latents=latents, lm_head="bert_mlm", dropout=0.0), sizes, end=END
        ).eval()
    with torch.no_grad():  # a random model looks everywhere a little, and then all latents say the same
        for block in model.body.blocks:
            block.qkv.weight *= SHARPER
            block.out.weight *= SHARPER
    return model


def context(vocabulary: int) -> EncodedExchange:
    """Make a context of random words."""
    stream = random.Random(0)
    turns = [(*(stream.randrange(3, vocabulary) for _ in range(WORDS)), END) for _ in range(TURNS)]
    ids = (*(word for turn in turns for word in turn), OPENS)
    whose = tuple((place % 2 == 1, len(turn)) for place, turn in enumerate(turns))
    return EncodedExchange("random", "d", (), ids, (), whose)


def saying(model: Plato, prompt: EncodedExchange, limit: int) -> dict[str, Way]:
    """Return the ways to have all candidates said, ``limit`` tokens each."""
    every = range(model.latents)
    return {
        SHARED: partial(said, model, prompt, every, limit, shared=True),
        REPEATED: partial(said, model, prompt, every, limit, shared=False),
        LOOP: lambda: [reply for latent in every for reply in said(model, prompt, [latent], limit, shared=True)],
    }


@torch.no_grad()
def said(model: Plato, prompt: EncodedExchange, latents: Sequence[int], limit: int, *, shared: bool) -> list[list[int]]:
    """Return the greedy candidates of some latents in one batch; no token ends a reply."""
    begun = model.prefill_latents(model.batch([prompt]), latents, shared=shared)
    batch = model.batch([prompt] * len(latents))
    return generate(model, batch, Greedy(), end=-1, max_new_tokens=limit, seeds=[0] * len(latents), prefilled=begun)


@torch.no_grad()
def below_best(model: Plato, prompt: EncodedExchange, replies: Sequence[Sequence[int]]) -> float:
    """Return by how many nats a token of these replies, one a latent, is less likely than the likeliest in its place.

    They are read by the shared context. Rounding differs with the number of rows, so what is nearly as likely may be
    said as well, and then all behind it is another reply.
    """
    scores, state = model.step_logits(
        model.prefill_latents(model.batch([prompt]), range(len(replies)), shared=True),
        torch.full((len(replies),), prompt.prefix[-1]),
    )
    lost = 0.0
    for tokens in torch.tensor(replies).unbind(1):
        lost = max(lost, float((scores.amax(-1) - scores.gather(-1, tokens[:, None])[:, 0]).max()))
        scores, state = model.step_logits(state, tokens)
    return lost


def reading(model: Plato, prompt: EncodedExchange) -> dict[str, Way]:
    """Return the ways to read the context for all candidates."""

    def read(latents: Sequence[int], *, shared: bool) -> object:
        with torch.no_grad():
            return model.prefill_latents(model.batch([prompt]), latents, shared=shared)

    every = range(model.latents)
    return {
        SHARED: partial(read, every, shared=True),
        REPEATED: partial(read, every, shared=False),
        LOOP: lambda: [read([latent], shared=True) for latent in every],
    }


def peaks(way: str) -> int:
    """Return by how many bytes the peak of a fresh process grew after loading."""
    command = [sys.executable, "-m", "benchmarks.candidates", way]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[1]
    printed = subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    loaded, peak = json.loads(printed.splitlines()[-1])
    return int(peak - loaded)


def main(way: str) -> None:
    """Print this process's peaks in bytes, after loading and at the end."""
    torch.set_num_threads(1)
    sizes = SIZES["MiniLM's size"]
    model, prompt = made(sizes), context(sizes.vocab_size)
    loaded = peak_bytes()
    said(model, prompt, range(LATENTS), LONG, shared=way == "shared")
    print(json.dumps([loaded, peak_bytes()]))


if __name__ == "__main__":
    main(sys.argv[1])
