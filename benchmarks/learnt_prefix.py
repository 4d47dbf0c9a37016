"""Does a learnt prefix say more of a person than weights and recalled exchanges do? On validation speakers.

A prefix is keys and values of every layer that all replies of a persona attend to (Eyuboglu et al., 2025; peft calls it
a cartridge). Here they begin as those of the person's longest exchanges and are trained leave-one-out: on each support
dialogue without the vectors that came from it, half on its replies and half on what the model makes of them with the
other support dialogues in its context. ``python -m benchmarks.learnt_prefix`` prints the table.

Shape letters: P vectors of the prefix, T tokens after it, N labels, V vocabulary, K key heads, E width of a head.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from benchmarks.shared_reading import Reading, readings
from benchmarks.speaker_table import line, sample, table
from menura.adaptation.weights import PersonaWeights, swapped_weights
from menura.batches.encode import EncodedDialogue, Encoder
from menura.evaluation.folds import Fold, folds_of
from menura.evaluation.run import config_of
from menura.memory.recall import memory_of
from menura.metrics.score import Sample
from menura.models.layers.neural_cache import NeuralCache
from menura.training.data import encoded
from menura.training.run_setup import Prepared, prepare

SHOTS, QUERIES = 5, 2
RECALLED_TOKENS = 256
VECTORS = 256  # as many as recalled tokens
PROMPT_TOKENS = 2048
ROWS = (
    "un-adapted",
    "adapted",
    "prompt",
    "adapted + recalled",
    "adapted + recalled + cache",
    "prefix as read",
    "prefix learnt",
    "prefix learnt + recalled",
    "prefix learnt + recalled + cache",
)


@dataclass
class Prefix:
    """The keys and values (1, K, P, E) of all layers, and the support dialogue that each of the P vectors is of."""

    layers: list[tuple[Tensor, Tensor]]
    dialogue: Tensor  # (P,)
    dtype: torch.dtype  # of the network that attends to them; they are learnt in float32

    def cache(self) -> DynamicCache:
        """Return the prefix as a cache of transformers, through which gradients flow."""
        made = DynamicCache()
        for number, (keys, values) in enumerate(self.layers):
            made.update(keys.to(self.dtype), values.to(self.dtype), number)
        return made


def longest_exchanges(
    encoder: Encoder, support: Sequence[EncodedDialogue], vectors: int
) -> list[tuple[int, EncodedDialogue]]:
    """Return each dialogue's exchanges with the longest replies, as short dialogues that fill its share of a prefix."""
    chosen = []
    for number, dialogue in enumerate(support):
        room = vectors // len(support)
        for exchange in sorted(dialogue, key=lambda exchange: len(exchange.reply), reverse=True):
            short = (encoder.exchange(exchange.source.as_remembered(), exchange.persona_id),)
            if (length := encoder.length_before(short)) <= room:
                room -= length
                chosen.append((number, short))
    return chosen


class Speaker:
    """One validation speaker: what is learnt from, what is judged, and a network to do both with."""

    def __init__(self, prepared: Prepared, fold: Fold, vectors: int) -> None:
        loaded = prepared.loaded
        self.model: Any = loaded.model
        self.encoder = loaded.encoder
        self.method = prepared.config.method
        self.support, self.query = fold.support(SHOTS), fold.query
        self.memory = memory_of(self.support)
        chosen = longest_exchanges(self.encoder, self.support, vectors)
        self.chosen = [short for _, short in chosen]
        lengths = [self.encoder.length_before(short) for short in self.chosen]
        of_dialogue = [number for (number, _), length in zip(chosen, lengths, strict=True) for _ in range(length)]
        self.dialogue = torch.tensor(of_dialogue)

    def states(self, reading: Reading, prefix: Prefix | None = None, hidden: int = -1) -> Tensor:
        """Return states (N, D) before each label; vectors of the support dialogue ``hidden`` are not seen."""
        ids = torch.tensor([reading.ids])
        named: dict[str, Any] = {}
        if prefix is not None:
            past = len(prefix.dialogue)
            seen = torch.cat([prefix.dialogue != hidden, torch.ones(len(reading.ids), dtype=torch.bool)])
            named = {"past_key_values": prefix.cache(), "attention_mask": seen[None].long()}
            named["position_ids"] = torch.arange(past, past + len(reading.ids))[None]
        states = self.model.network.model(input_ids=ids, use_cache=prefix is not None, **named).last_hidden_state
        before: Tensor = states[0, list(reading.places)]
        return before

    def logits(self, reading: Reading, prefix: Prefix | None = None, hidden: int = -1) -> Tensor:
        """Return logits (N, V) before each label."""
        logits: Tensor = self.model.network.lm_head(self.states(reading, prefix, hidden))
        return logits.float()

    @torch.no_grad()
    def cache(self, prefix: Prefix | None = None) -> NeuralCache:
        """Return the cache of the support replies, each dialogue read without the prefix's vectors of it."""
        states, tokens = [], []
        before, skip = ([], 0) if prefix is None else (self.chosen, len(self.dialogue))
        for number, dialogue in enumerate(self.support):
            for reading in readings(self.encoder, dialogue, before, skip, PROMPT_TOKENS):
                states.append(self.states(reading, prefix, number))
                tokens.append(torch.tensor(reading.labels))
        return NeuralCache.of(torch.cat(states), torch.cat(tokens))

    def read(self, before: Sequence[EncodedDialogue], skip: int, *, recalled: bool) -> Iterator[Reading]:
        """Yield the held-out dialogues after others, each exchange after what is recalled for it if asked for."""
        for dialogue in self.query:
            parts = [(exchange,) for exchange in dialogue] if recalled else [dialogue]
            for part in parts:
                found = self.memory.recalled_for(part[0], self.encoder, RECALLED_TOKENS) if recalled else ()
                yield from readings(self.encoder, part, [*before, *found], skip, PROMPT_TOKENS)

    @torch.no_grad()
    def nll(
        self,
        before: Sequence[EncodedDialogue] = (),
        prefix: Prefix | None = None,
        *,
        recalled: bool = False,
        cache: NeuralCache | None = None,
    ) -> tuple[float, int]:
        """Return the summed NLL (nats) of the held-out replies, and their tokens."""
        total, tokens = 0.0, 0
        read, skip = (before, 0) if prefix is None else (self.chosen, len(self.dialogue))
        for reading in self.read(read, skip, recalled=recalled):
            labels = torch.tensor(reading.labels)
            states = self.states(reading, prefix)
            logits = self.model.network.lm_head(states).float()
            logits = logits if cache is None else cache.mixed(logits, states)
            total += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
            tokens += len(labels)
        return total, tokens

    @torch.no_grad()
    def prefix_as_read(self) -> Prefix:
        """Return keys and values of the chosen exchanges, as the network reads them."""
        first = self.query[0][0]
        ids = self.encoder.after(first, self.chosen, PROMPT_TOKENS).ids[: len(self.dialogue)]
        cache = self.model.network.model(input_ids=torch.tensor([ids]), use_cache=True).past_key_values
        layers = [(layer.keys.float(), layer.values.float()) for layer in cache.layers]
        return Prefix(layers, self.dialogue, cache.layers[0].keys.dtype)

    @torch.no_grad()
    def targets(self) -> list[list[tuple[Reading, Tensor]]]:
        """Return each support dialogue after the prefix, and what the model makes of it after all the others."""
        made = []
        for number, dialogue in enumerate(self.support):
            others = [other for place, other in enumerate(self.support) if place != number]
            after_prefix = readings(self.encoder, dialogue, self.chosen, len(self.dialogue), PROMPT_TOKENS)
            prompted = readings(self.encoder, dialogue, others, 0, PROMPT_TOKENS)
            made.append(
                [
                    (reading, self.logits(teacher).softmax(-1))
                    for reading, teacher in zip(after_prefix, prompted, strict=True)
                ]
            )
        return made

    def learnt(self, lr: float, epochs: int) -> Prefix:
        """Train the prefix leave-one-out, and return it."""
        initial = self.prefix_as_read()
        layers: list[tuple[Tensor, Tensor]] = [
            (nn.Parameter(keys), nn.Parameter(values)) for keys, values in initial.layers
        ]
        prefix = replace(initial, layers=layers)
        adam = torch.optim.Adam([each for layer in prefix.layers for each in layer], lr=lr)
        targets = self.targets()
        for _ in range(epochs):
            for number, dialogue in enumerate(targets):
                tokens = sum(len(reading.labels) for reading, _ in dialogue)
                for reading, soft in dialogue:
                    logits = self.logits(reading, prefix, hidden=number)
                    hard = nn.functional.cross_entropy(logits, torch.tensor(reading.labels), reduction="sum")
                    distilled = nn.functional.cross_entropy(logits, soft, reduction="sum")
                    ((0.5 * hard + 0.5 * distilled) / tokens).backward()  # type: ignore[no-untyped-call]
                adam.step()
                adam.zero_grad()
        return prefix

    def rows(self, lr: float, epochs: int) -> Mapping[str, tuple[float, int]]:
        """Return NLL and tokens of each row."""
        weights: PersonaWeights = self.method.adapt(self.model, self.support)
        found = {"un-adapted": self.nll(), "prompt": self.nll(self.support)}
        found["prefix as read"] = self.nll(prefix=self.prefix_as_read())
        learnt = self.learnt(lr, epochs)
        found["prefix learnt"] = self.nll(prefix=learnt)
        found["prefix learnt + recalled"] = self.nll(prefix=learnt, recalled=True)
        cache = self.cache(learnt)
        found["prefix learnt + recalled + cache"] = self.nll(prefix=learnt, recalled=True, cache=cache)
        with swapped_weights(self.model, weights):
            found["adapted"], found["adapted + recalled"] = self.nll(), self.nll(recalled=True)
            found["adapted + recalled + cache"] = self.nll(recalled=True, cache=self.cache())
        return found


def main(words: list[str]) -> None:
    """Print one line a speaker, then the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learnt_prefix", description=__doc__.split("\n")[0])
    parser.add_argument("--personas", type=int, default=14)
    parser.add_argument("--vectors", type=int, default=VECTORS, help="at most, of the prefix")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    prepared = prepare(config_of("shipped"), offline=True, dtype="bfloat16")
    valid = [task for task in prepared.split.splits["valid"] if len(task.dialogues) >= SHOTS + QUERIES]
    samples: dict[str, list[Sample]] = {name: [] for name in ROWS}
    for task in encoded(valid[: given.personas], prepared.loaded.encoder):
        start = time.monotonic()
        (fold,) = folds_of(task, "following", first=SHOTS, queries=QUERIES)
        found = Speaker(prepared, fold, given.vectors).rows(given.lr, given.epochs)
        for name in ROWS:
            samples[name].append(sample(task.persona_id, *found[name]))
        print(f"{line(task.persona_id, samples)} ({time.monotonic() - start:.0f} s)", flush=True)
    what = f"{given.vectors} vectors, lr {given.lr:g}, {given.epochs} epochs"
    print(f"\n{table(samples, what, ('un-adapted', 'prompt', 'adapted + recalled', 'adapted + recalled + cache'))}")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
