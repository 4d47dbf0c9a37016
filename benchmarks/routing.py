"""Row group 7: AR+ against AR: time and memory of a training step; replies with a cache and without.

A step is forward, backward and Adam in pooled training with dropout and both tasks, over random exchanges of the shape
of RealPersonaChat's, or of the study's. ``python -m benchmarks.routing ar paper`` prints a process's peaks in bytes:
before the model, and at the end.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.memory import peak_bytes
from benchmarks.paired import Figures, Ratio, Row, Way, against, ratio, timed
from menura.adaptation.weights import outer_groups
from menura.batches.batch import Batch
from menura.batches.encode import EncodedExchange
from menura.batches.speaker_profile import Slots
from menura.decoding.generate import generate
from menura.decoding.sampling import Greedy
from menura.errors import MismatchError
from menura.models.attention_routing.config import AttentionRoutingConfig
from menura.models.attention_routing.model import AttentionRouting
from menura.models.catalogue import counted
from menura.training.recipes.arplus import ABLATIONS, AR, MODELS

SYSTEMS = {"ar": AR, "arplus": {}, **ABLATIONS}
QUICKER, LESS = 1.3, 1 / 0.75  # AR+ against AR: training speed, peak memory
CACHED = 10.0
SAYING = (32, 15)  # rows, tokens of a reply
BOS, END, SEP = 2, 3, 4
FIRST = 12  # the first token id that is no control token
KEYS = 6  # of profiles, numbered before it


@dataclass(frozen=True)
class Shape:
    """What is read and said: exchanges of a step, turns, tokens of a turn and of a reply, tables.

    ``speakers`` reply in turn, each to two people; of everybody values of so many words are ``told``, each of
    ``spelt`` characters.
    """

    exchanges: int
    turns: int
    turn: int
    reply: int
    vocabulary: int
    words: int
    speakers: int
    told: tuple[int, ...]
    spelt: int


SHAPES = {
    # A step of the recipes: two speakers, of each five attributes and ten sentences.
    "cpu": Shape(58, 3, 24, 24, 3000, 3000, speakers=2, told=(*[1] * 5, *[9] * 10), spelt=2),
    "paper": Shape(64, 7, 15, 15, 9489, 10004, speakers=64, told=(1, 2, 3), spelt=3),  # the study's
}
PEER = "AR"
STUDY = (  # Tables 1 and 2 of AR+'s paper
    ("ar", "30M", "7920 MB", "30.5 min"),
    ("arplus", "31M", "5600 MB", "21.0 min"),
    ("no-rezero", "31M", "5360 MB", "19.5 min"),
    ("no-albert", "45M", "5890 MB", "20.4 min"),
    ("no-factor-ff", "33M", "6690 MB", "24.6 min"),
    ("no-memn2n", "9M", "7410 MB", "25.3 min"),
    ("no-bart-mlm", "31M", "5120 MB", "16.7 min"),
)


def rows() -> dict[str, Row]:
    """Return the rows by name."""
    return {
        "routing": partial(run, "cpu", tuple(SYSTEMS)),
        "routing-paper": partial(run, "paper", ("ar", "arplus")),
        "routing-memory": run_memory,
        "routing-cache": run_cache,
    }


def run(size: str, systems: tuple[str, ...], rounds: int) -> Iterator[Ratio | Figures]:
    """Compare a step of each system with one of AR, and tell how many parameters each has."""
    ways: dict[str, Way] = {}
    parameters = []
    for system in systems:
        model = made(system, size)
        counts = {part.part: part.parameters for part in counted(model)}
        tables = sum(counts.get(name, 0) for name in ("table", "profile_table", "memory", "output"))
        parameters.append((system, f"{sum(counts.values()):,}", f"{sum(counts.values()) - tables:,}"))
        ways[system] = partial(step, model, optimizer(model), batch_of(model, size))
    yield Figures((f"size {size}", "parameters", "without the tables"), tuple(parameters))
    if size == "cpu":  # once is enough
        yield Figures(("in the study", "parameters", "GPU memory", "time"), STUDY)
    seconds = timed(ways, rounds)
    for system in systems[1:]:
        least = QUICKER if system == "arplus" else None
        yield ratio(f"training step of {system}, size {size}", PEER, seconds[system], seconds["ar"], least)


def run_memory(rounds: int) -> Iterator[Ratio | Figures]:
    """Compare what a training takes beside the program: weights, Adam's averages and what the backward pass needs."""
    del rounds
    for size, systems in (("cpu", tuple(SYSTEMS)), ("paper", ("ar", "arplus"))):
        taken = {system: peak(system, size) for system in systems}
        megabytes = tuple((system, f"{bytes_taken / 1e6:.0f} MB") for system, bytes_taken in taken.items())
        yield Figures((f"memory of training, size {size}", "beyond the program"), megabytes)
        for system in systems[1:]:
            times = taken["ar"] / taken[system]
            least = LESS if system == "arplus" else None
            yield Ratio(f"memory of training {system}, size {size}", PEER, times, times, times, 1, least, "less")


def run_cache(rounds: int) -> Iterator[Ratio]:
    """Compare replies from kept keys and values with reading everything again for each token."""
    replies, limit = SAYING
    for size in SHAPES:
        model = made("arplus", size)
        prompts = batch_of(model, size, replies, said=False)
        ways: dict[str, Way] = {
            "menura": partial(cached, model, prompts, limit),
            "everything read again for each token": partial(uncached, model, prompts, limit),
        }
        said = {name: way() for name, way in ways.items()}
        if len({json.dumps(found) for found in said.values()}) > 1:
            raise MismatchError(f"AR+ of size {size}: not the same replies by {' and '.join(ways)}")
        what = f"{replies} replies of {limit} tokens, AR+ of size {size}"
        promised = dict.fromkeys(ways, CACHED)
        yield from against(what, "menura", timed(ways, rounds), promised)


def made(system: str, size: str) -> AttentionRouting:
    """Make a system of random weights; gates are open, as they are after training."""
    shape = SHAPES[size]
    config: AttentionRoutingConfig = replace(MODELS["paper" if size == "paper" else "cpu"], **SYSTEMS[system])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AttentionRouting(config, shape.vocabulary, shape.words).eval()
    if model.gates is not None:
        with torch.no_grad():
            model.gates.fill_(0.5)
    return model


def batch_of(model: AttentionRouting, size: str, exchanges: int = 0, *, said: bool = True) -> Batch:
    """Make exchanges of random tokens; what is told of people is read by characters or by words."""
    shape, stream = SHAPES[size], random.Random(0)
    least = shape.words if model.config.memory else shape.vocabulary

    def told() -> Slots:
        spelt = 1 if model.config.memory else shape.spelt  # numbers of a word
        return tuple(
            (FIRST - KEYS + min(place, KEYS - 1), tuple(stream.randrange(FIRST, least) for _ in range(spelt * words)))
            for place, words in enumerate(shape.told)
        )

    def words(count: int) -> tuple[int, ...]:
        return tuple(stream.randrange(FIRST, shape.vocabulary) for _ in range(count))

    speakers, partners = ([told() for _ in range(many * shape.speakers)] for many in (1, 2))
    made_up = []
    for number in range(exchanges or shape.exchanges):
        context = tuple(token for _ in range(shape.turns) for token in (*words(shape.turn), SEP))
        turns = tuple((place % 2 == 1, shape.turn + 1) for place in range(shape.turns))
        whose = tuple(place % 2 for place in range(shape.turns))
        reply = (*words(shape.reply), END) if said else ()
        people = (speakers[number % len(speakers)], partners[number % len(partners)])
        made_up.append(EncodedExchange("p", f"d{number}", (), (*context, BOS), reply, turns, (), people, whose))
    return model.batch(made_up)


def optimizer(model: AttentionRouting) -> torch.optim.Optimizer:
    """Return Adam as the recipes have it."""
    return torch.optim.AdamW(outer_groups(model, 0.05), lr=1e-4)


def step(model: AttentionRouting, adam: torch.optim.Optimizer, batch: Batch) -> float:
    """Take one step of training."""
    adam.zero_grad()
    with model.dropout(0):
        loss = model.loss(batch)
    loss.total.backward()  # type: ignore[no-untyped-call]
    adam.step()
    return float(loss.total.detach())


def cached(model: AttentionRouting, prompts: Batch, limit: int) -> list[list[int]]:
    """Generate replies with our cache; no token ends one."""
    return generate(model, prompts, Greedy(), end=-1, max_new_tokens=limit, seeds=[0] * len(prompts))


@torch.no_grad()
def uncached(model: AttentionRouting, prompts: Batch, limit: int) -> list[list[int]]:
    """Generate replies as the public program does: context and reply are read again for each token (F-A17)."""
    ids = torch.full((len(prompts), 1), BOS)
    for _ in range(limit):
        scores = model.scores_of(model.prefill(prompts), ids)[:, -1]
        ids = torch.cat([ids, scores.argmax(-1, keepdim=True)], 1)
    found: list[list[int]] = ids[:, 1:].tolist()
    return found


def peak(system: str, size: str) -> int:
    """Return by how many bytes the peak of a fresh process grew from before the model to after two steps."""
    command = [sys.executable, "-m", "benchmarks.routing", system, size]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parents[1]
    printed = subprocess.run(command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    before, after = json.loads(printed.splitlines()[-1])
    return int(after - before)


def main(system: str, size: str) -> None:
    """Print this process's peaks in bytes, before there is a model and after two steps."""
    torch.set_num_threads(1)
    before = peak_bytes()
    model = made(system, size)
    adam, batch = optimizer(model), batch_of(model, size)
    for _ in range(2):
        step(model, adam, batch)
    print(json.dumps([before, peak_bytes()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
