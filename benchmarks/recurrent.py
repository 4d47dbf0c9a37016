"""Row group 1, too: a first-order meta-step of Seq2SPG, and how far every engine's gradient is from float64's."""

import copy
import random
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.material import stir
from benchmarks.paired import Ratio, Row, Way, against, timed
from benchmarks.peers.meta_engines import load_learn2learn
from benchmarks.peers.padded import gradients, relative_error
from benchmarks.peers.padded_seq2spg import Encoder, PaddedSeq2Spg, padded, under_our_names
from menura.adaptation.inner_loop import InnerLoop
from menura.adaptation.maml import Maml
from menura.batches.encode import EncodedDialogue, EncodedEpisode, EncodedExchange
from menura.errors import NumericalError
from menura.models.recurrent.seq2spg import Seq2Spg, Seq2SpgConfig

# As in cmaml/maml_seq2spg@cpu, on dialogues as long as Persona-Chat's.
CONFIG = Seq2SpgConfig(vocab_size=8000, hidden_size=150, num_layers=2, dropout=0.0)
TASKS, SUPPORT, QUERY = 4, 2, 1  # of a meta-step; dialogues of a task
EXCHANGES = 7  # of a dialogue
SHORTEST, LONGEST = 6, 16  # words of an utterance
RATE, BATCH = 0.01, 16
SOS, EOS = 1, 2
LARGEST_ERROR = 1e-5
WHAT = "meta-step, Seq2SPG, first order"
PEERS: Mapping[str, Encoder] = {"learn2learn, the same cells": "cells", "learn2learn, torch's LSTM, packed": "packed"}
AT_LEAST = 1.3


def rows() -> dict[str, Row]:
    """Return the row by name."""
    return {"meta-seq2spg-first": run}


def run(rounds: int, *, config: Seq2SpgConfig = CONFIG, tasks: int = TASKS) -> Iterator[Ratio]:
    """Compare; NumericalError if our gradient is off."""
    model, drawn = made(config), episodes(tasks, config.vocab_size)
    ways: dict[str, Way] = {"menura": partial(step, model, drawn)}
    ways |= {name: partial(learn2learn, PaddedSeq2Spg(model, kind), drawn) for name, kind in PEERS.items()}
    wanted = reference(model, drawn)
    for name, way in ways.items():
        error = relative_error(way(), wanted)  # type: ignore[arg-type]  # each way returns its gradient
        print(f"  {WHAT}: {name}, gradient error {error:.1e}", flush=True)
        if name == "menura" and not error <= LARGEST_ERROR:
            raise NumericalError(f"{WHAT}: our meta-gradient is {error:.1e} off float64's, at most {LARGEST_ERROR}")
    yield from against(WHAT, "menura", timed(ways, rounds), dict.fromkeys(PEERS, AT_LEAST))


def made(config: Seq2SpgConfig) -> Seq2Spg:
    """Make our model, its words far enough from zero to matter."""
    torch.manual_seed(0)
    model = Seq2Spg(config).eval()
    stir(model)
    return model


def episodes(tasks: int, vocabulary: int) -> list[EncodedEpisode]:
    """Make episodes of dialogues in which every context begins with the one before, as those of a dialogue do."""
    stream = random.Random(0)
    return [
        EncodedEpisode(
            "random",
            tuple(dialogue(stream, vocabulary) for _ in range(SUPPORT)),
            tuple(dialogue(stream, vocabulary) for _ in range(QUERY)),
        )
        for _ in range(tasks)
    ]


def dialogue(stream: random.Random, vocabulary: int) -> EncodedDialogue:
    """Make a dialogue of random words, laid out as words are: turns side by side, a token that opens the reply."""
    said: tuple[int, ...] = ()
    exchanges = []
    for _ in range(EXCHANGES):
        said += utterance(stream, vocabulary)
        reply = utterance(stream, vocabulary)
        exchanges.append(EncodedExchange("random", "d", (), (*said, SOS), (*reply, EOS)))
        said += reply
    return tuple(exchanges)


def utterance(stream: random.Random, vocabulary: int) -> tuple[int, ...]:
    """Draw words."""
    return tuple(stream.randrange(4, vocabulary) for _ in range(stream.randint(SHORTEST, LONGEST)))


def step(model: Seq2Spg, drawn: Sequence[EncodedEpisode]) -> dict[str, Tensor]:
    """Compute our meta-gradient, task by task, as training calls it."""
    method = Maml(InnerLoop(lr=RATE, epochs=1, batch_size=BATCH))
    model.zero_grad(set_to_none=True)
    for episode in drawn:
        (method.objective(model, episode).total / len(drawn)).backward()  # type: ignore[no-untyped-call]
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def learn2learn(network: PaddedSeq2Spg, drawn: Sequence[EncodedEpisode]) -> dict[str, Tensor]:
    """Clone, adapt, differentiate (learn2learn 0.2.0, ``algorithms/maml.py`` as it is)."""
    maml = load_learn2learn()(network, lr=RATE, first_order=True)  # type: ignore[arg-type]  # it takes any module
    network.zero_grad(set_to_none=True)
    for episode in drawn:
        learner = maml.clone()
        learner.adapt(learner(padded(episode.support)))
        (learner(padded(episode.query)) / len(drawn)).backward()
    return under_our_names(gradients(network))


def reference(model: Seq2Spg, drawn: Sequence[EncodedEpisode]) -> dict[str, Tensor]:
    """Return what all must agree with: plain autograd in float64, on the padded rows and the cells."""
    exact = PaddedSeq2Spg(copy.deepcopy(model).double(), "cells")
    start, total = dict(exact.named_parameters()), {}
    for episode in drawn:
        support = exact(padded(episode.support))
        slope = torch.autograd.grad(support, list(start.values()))
        there = {
            name: (value - RATE * gradient).detach().requires_grad_()
            for (name, value), gradient in zip(start.items(), slope, strict=True)
        }
        query = torch.func.functional_call(exact, there, (padded(episode.query),))
        for name, gradient in zip(there, torch.autograd.grad(query, list(there.values())), strict=True):
            total[name] = total.get(name, 0) + gradient / len(drawn)
    return under_our_names(total)
