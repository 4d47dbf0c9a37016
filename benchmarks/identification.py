"""Whose persona makes each person's held-out replies likeliest, with a memory and with a prompt? On test speakers.

``menura eval --identify`` answers this too. Everybody's replies are read after what each of all personas has in its
context, which takes hours, so that here each persona's likelihoods are kept in a file and the same command resumes; and
a prompt is read once, not once for each dialogue. ``python -m benchmarks.identification --kept FILE`` prints the table.
"""

import argparse
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import nn

from benchmarks.shared_reading import readings
from menura.adaptation.own_words import cache_of
from menura.artefacts.files import read_json, write_text
from menura.batches.encode import EncodedDialogue, EncodedExchange
from menura.decoding.sampling import Greedy
from menura.evaluation.folds import Fold, folds_of
from menura.evaluation.generation import Evaluator
from menura.evaluation.run import config_of
from menura.evaluation.systems import PROMPT, RECALLED, RECALLED_CACHED, UNADAPTED, UNCHANGED, Kind, System
from menura.memory.recall import memory_of
from menura.metrics.identification import HeldOutReplies, Identified, identified, table
from menura.training.data import encoded
from menura.training.run_setup import Prepared, prepare

SHOTS, QUERIES = 5, 2
RECALLED_TOKENS, CACHE_WEIGHT = 256, 0.05
PROMPT_TOKENS = 4096  # so that all dialogues stand in the prompt of every exchange
ROWS = (PROMPT, RECALLED, RECALLED_CACHED)
Likelihoods = list[list[float]]  # of everybody's replies: owners, replies


class Judges:
    """Personas on one network, under each of which everybody's held-out replies have a likelihood."""

    def __init__(self, prepared: Prepared, folds: Sequence[Fold]) -> None:
        loaded = prepared.loaded
        self.model: Any = loaded.model
        self.encoder, self.method = loaded.encoder, prepared.config.method
        self.queries = [fold.exchanges for fold in folds]
        self.evaluator = Evaluator(self.model, self.encoder, Greedy(), 1, 1, 0, (), 0, generates=False)

    def likelihoods(self, row: str, support: Sequence[EncodedDialogue]) -> Likelihoods:
        """Return −log p (nats) of everybody's replies under the persona of these support dialogues."""
        if row == UNADAPTED:
            return self.evaluator.nll(self.queries)
        if row == PROMPT:
            return self.after_prompt(support)
        memory = memory_of(support)

        def before(exchange: EncodedExchange) -> Sequence[EncodedDialogue]:
            return memory.recalled_for(exchange, self.encoder, RECALLED_TOKENS)

        if row == RECALLED:
            return self.evaluator.nll(self.queries, System(UNCHANGED.kind, {}, before), prompt_limit=PROMPT_TOKENS)
        weights = self.method.adapt(self.model, support)
        cache = cache_of(self.model, weights, support).weighing(CACHE_WEIGHT)
        whole = System(Kind(row, frozenset()), weights, before, cache)
        return self.evaluator.nll(self.queries, whole, prompt_limit=PROMPT_TOKENS)

    @torch.no_grad()
    def after_prompt(self, support: Sequence[EncodedDialogue]) -> Likelihoods:
        """Return the same after the support dialogues, which are read once."""
        network, length = self.model.network, sum(map(self.encoder.length_before, support))
        first = self.encoder.after(self.queries[0][0], support, PROMPT_TOKENS).ids
        # The end of the prompt is read again with each dialogue: there the first token's state is needed, too.
        cache = network.model(input_ids=torch.tensor([first[: length - 1]]), use_cache=True).past_key_values
        found = []
        for exchanges in self.queries:
            of_owner = [0.0] * len(exchanges)
            for reading in readings(self.encoder, exchanges, support, length - 1, PROMPT_TOKENS):
                states = network.model(
                    input_ids=torch.tensor([reading.ids]),
                    past_key_values=cache,
                    position_ids=torch.arange(length - 1, length - 1 + len(reading.ids))[None],
                    use_cache=True,
                ).last_hidden_state[0]
                cache.crop(-len(reading.ids))  # so many are taken off the end
                logits = network.lm_head(states[list(reading.places)]).float()
                nll = nn.functional.cross_entropy(logits, torch.tensor(reading.labels), reduction="none")
                replies = nll.split([len(exchanges[place].reply) for place in reading.exchanges])
                for place, reply in zip(reading.exchanges, replies, strict=True):
                    of_owner[place] = float(reply.sum())
            found.append(of_owner)
        return found


def identified_by(
    judged: Sequence[Likelihoods], unadapted: Likelihoods, folds: Sequence[Fold], *, to_new_partners: bool = False
) -> list[Identified]:
    """Return how well personas are told apart, from likelihoods by judge.

    ``to_new_partners`` leaves out replies to people whom a persona's support dialogues are with, who tell it, too.
    """
    owners = []
    for place, fold in enumerate(folds):
        known = partners(exchange for dialogue in fold.support(SHOTS) for exchange in dialogue)
        kept = [at for at, one in enumerate(fold.exchanges) if not (to_new_partners and partners([one]) & known)]
        names = list(dict.fromkeys(exchange.dialogue_id for exchange in fold.exchanges))
        owners.append(
            HeldOutReplies(
                numpy.array([likelihoods[place] for likelihoods in judged])[:, kept],
                numpy.array(unadapted[place])[kept],
                numpy.array([len(fold.exchanges[at].reply) for at in kept], dtype=float),
                numpy.array([names.index(fold.exchanges[at].dialogue_id) for at in kept]),
            )
        )
    return identified(owners)


def partners(exchanges: Iterable[EncodedExchange]) -> set[str]:
    """Return who else speaks in the contexts of replies."""
    sources = [exchange.source for exchange in exchanges if exchange.source]
    return {turn.speaker for source in sources for turn in source.context} - {
        source.reply.speaker for source in sources
    }


def main(words: list[str]) -> None:
    """Score what is not in the file yet, and print the table of all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.identification", description=__doc__.split("\n")[0])
    parser.add_argument("--kept", type=Path, required=True, help="where likelihoods are kept, by row and persona")
    parser.add_argument("--personas", type=int, default=24)
    parser.add_argument("--row", action="append", choices=ROWS)
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    prepared = prepare(config_of("shipped"), offline=True, dtype="bfloat16")
    tasks = [task for task in prepared.split.splits["test"] if len(task.dialogues) >= SHOTS + QUERIES][: given.personas]
    folds = [
        folds_of(task, "following", first=SHOTS, queries=QUERIES)[0] for task in encoded(tasks, prepared.loaded.encoder)
    ]
    judges = Judges(prepared, folds)
    kept: dict[str, Likelihoods] = read_json(given.kept) if given.kept.exists() else {}
    rows = given.row or list(ROWS)
    wanted = [(UNADAPTED, folds[0]), *((row, fold) for row in rows for fold in folds)]
    for row, fold in wanted:
        name = row if row == UNADAPTED else f"{row}: {fold.persona_id}"
        if name not in kept:
            start = time.monotonic()
            kept[name] = judges.likelihoods(row, fold.support(SHOTS))
            write_text(given.kept, json.dumps(kept))
            print(f"{name} ({time.monotonic() - start:.0f} s)", flush=True)
    by_row = {row: [kept[f"{row}: {fold.persona_id}"] for fold in folds] for row in rows}
    found: dict[str, list[Identified]] = {}
    for row, judged in by_row.items():
        found[row] = identified_by(judged, kept[UNADAPTED], folds)
        found[f"{row}, to new partners"] = identified_by(judged, kept[UNADAPTED], folds, to_new_partners=True)
    print("\n" + table(found))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
