"""How should a persona's replies be decoded, and do they show the person? Held-out speakers, whole personas.

A persona is adapted weights, recalled exchanges and the cache of own words. ``python -m benchmarks.decoded_replies``
prints the table of the validation speakers, from which the defaults of decoding were chosen; with ``--split test`` that
of the test speakers. Which persona wrote a reply is what a classifier says that has learnt from their other dialogues.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from menura.adaptation.own_words import cache_of
from menura.adaptation.weights import PersonaWeights, swapped_weights
from menura.batches.encode import EncodedExchange, Encoder
from menura.decoding.candidates import Ranking, candidates
from menura.decoding.generate import generate
from menura.decoding.sampling import Choice, Greedy, MinP, Nucleus, Penalised
from menura.evaluation.folds import Fold, folds_of
from menura.evaluation.run import config_of
from menura.evaluation.scorer_labels import ScorerLabels, persona_classifier
from menura.memory.recall import ExchangeMemory, memory_of
from menura.metrics import catalogue
from menura.metrics.score import Sample
from menura.metrics.significance import paired_difference, score, value_of
from menura.models.dialogue_model import caching
from menura.models.layers.neural_cache import NeuralCache
from menura.personas.likelihood_ratio import likelihood_ratio, weights_now
from menura.tasks.split import strangers
from menura.training.data import encoded
from menura.training.run_setup import prepare

SHOTS, QUERIES = 5, 2
RECALLED_TOKENS = 256
MAX_NEW_TOKENS = 40
SOBER = Nucleus(0.92, 0.8)
WAYS: Mapping[str, tuple[Choice, int]] = {  # how, and among how many candidates the persona chooses
    "greedy": (Greedy(), 1),
    "top-p 0.92, temperature 1": (Nucleus(0.92, 1.0), 1),
    "top-p 0.92, temperature 0.8": (SOBER, 1),
    "min-p 0.05, temperature 1": (MinP(0.05, 1.0), 1),
    "min-p 0.1, temperature 1": (MinP(0.1, 1.0), 1),
    "top-p 0.92, temperature 0.8, repetition penalty 1.1": (Penalised(SOBER, 1.1), 1),
    "the best of 4, top-p 0.92, temperature 0.8": (SOBER, 4),
    "the best of 8, top-p 0.92, temperature 0.8": (SOBER, 8),
    "the best of 8, top-p 0.92, temperature 1": (Nucleus(0.92, 1.0), 8),
    "the best of 4, min-p 0.05, temperature 1": (MinP(0.05, 1.0), 4),
    "the best of 8, min-p 0.05, temperature 1": (MinP(0.05, 1.0), 8),
}
RUN = 4  # words, or of candidates tokens: so many in a row that occur twice in a reply are a repetition
WHOSE = "whose-reply"
METRICS = (WHOSE, "own-words", "style-length", "style-capitals", "style-punctuation", "dist-2")


@dataclass(frozen=True)
class Persona:
    """What an adapted persona consists of."""

    weights: PersonaWeights
    memory: ExchangeMemory
    cache: NeuralCache


class Speakers:
    """Personas on one network, and the replies they make to held-out exchanges."""

    def __init__(self, model: Any, method: Any, encoder: Encoder) -> None:
        self.model, self.method, self.encoder = model, method, encoder

    def persona(self, fold: Fold) -> Persona:
        """Adapt to a speaker's support dialogues."""
        support = fold.support(SHOTS)
        weights = self.method.adapt(self.model, support)
        return Persona(weights, memory_of(support), cache_of(self.model, weights, support))

    def replies(self, persona: Persona, asked: Sequence[EncodedExchange], way: str, seed: int) -> list[str]:
        """Return a persona's reply to each exchange."""
        choice, number = WAYS[way]
        prompts = [replace(self._with_recalled(persona, exchange), reply=()) for exchange in asked]
        seeds = [1000 * seed + place for place in range(len(asked))]
        length, ends = MAX_NEW_TOKENS, self.encoder.chat_format.ends
        if number == 1:
            with self._speaking(persona):
                batch = self.model.batch(prompts)
                made = generate(self.model, batch, choice, end=ends, max_new_tokens=length, seeds=seeds)
            return [self.encoder.reply_text(ids) for ids in made]
        unadapted = weights_now(self.model, persona.weights)
        with self._speaking(persona):
            replies = []
            for exchange, prompt, own in zip(asked, prompts, seeds, strict=True):
                rank = likelihood_ratio(self.model, unadapted, replace(exchange, reply=()))
                ranking = Ranking(by="persona", each=number, repeats=RUN)
                named: Any = {"end": ends, "max_new_tokens": length, "seeds": [own], "rank": rank}
                (found,) = candidates(self.model, [prompt], choice, ranking, **named)
                replies.append(self.encoder.reply_text(found[0].ids))
            return replies

    def _with_recalled(self, persona: Persona, exchange: EncodedExchange) -> EncodedExchange:
        recalled = persona.memory.recalled_for(exchange, self.encoder, RECALLED_TOKENS)
        return self.encoder.after(exchange, recalled, self.encoder.max_length + RECALLED_TOKENS)

    @contextmanager
    def _speaking(self, persona: Persona) -> Iterator[None]:
        with torch.no_grad(), swapped_weights(self.model, persona.weights), caching(self.model, persona.cache):
            yield


def asked_of(fold: Fold, replies: int) -> list[EncodedExchange]:
    """Return so many of a speaker's held-out exchanges, evenly spread."""
    exchanges = [exchange for exchange in fold.exchanges if exchange.source is not None]
    return [exchanges[place * len(exchanges) // replies] for place in range(min(replies, len(exchanges)))]


def sampled(asked: Sequence[EncodedExchange], replies: Sequence[str]) -> list[Sample]:
    """Return replies with their references, for metrics."""
    made = []
    for exchange, reply in zip(asked, replies, strict=True):
        assert exchange.source is not None
        real = exchange.source.reply
        made.append(Sample(exchange.persona_id, exchange.dialogue_id, reply, real.text, 0.0, 1, speaker=real.speaker))
    return made


def repeated(replies: Sequence[str]) -> float:
    """Return the share of replies, in per cent, in which so many words in a row occur twice."""
    twice = 0
    for reply in replies:
        words = reply.lower().split()
        runs = [tuple(words[at : at + RUN]) for at in range(len(words) - RUN + 1)]
        twice += len(set(runs)) < len(runs)
    return 100 * twice / len(replies)


def table(rows: Mapping[str, Sequence[Sample]], wrong: Mapping[str, Sequence[Sample]]) -> str:
    """Return the table as Markdown: a way a row, and how much oftener a reply is taken for its own persona's."""
    metrics = catalogue.named(METRICS)
    lines = [
        f"| way | {' | '.join(f'{m.name} ({m.unit})' for m in metrics)} | words a reply | with a repetition (%) "
        f"| {WHOSE}, less a wrong persona's |",
        "| --- |" + " ---: |" * (len(metrics) + 3),
    ]
    for name, samples in rows.items():
        first, others = metrics[0], metrics[1:]
        shown = score(first, samples, seed=0)
        cells = [f"{shown.value:.0f} [{shown.low:.0f}, {shown.high:.0f}]"]
        cells += [f"{value_of(metric, samples):.3g}" for metric in others]
        replies = [sample.reply for sample in samples]
        cells += [f"{sum(len(reply.split()) for reply in replies) / len(replies):.1f}", f"{repeated(replies):.0f}"]
        if name in wrong:
            gap = paired_difference(first, samples, wrong[name], seed=0)
            cells += [f"{gap.value:+.0f} [{gap.low:+.0f}, {gap.high:+.0f}]"]
        else:
            cells += ["–"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: list[str]) -> None:
    """Print the table; ``--way`` takes only some ways."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoded_replies", description=__doc__.split("\n")[0])
    parser.add_argument("--split", choices=("valid", "test"), default="valid")
    parser.add_argument("--personas", type=int, default=24)
    parser.add_argument("--replies", type=int, default=8, help="of each persona in each way")
    parser.add_argument("--wrong", action="store_true", help="also as a wrong persona replies")
    parser.add_argument("--way", action="append", choices=list(WAYS))
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    prepared = prepare(config_of("shipped"), offline=True, dtype="bfloat16")
    loaded = prepared.loaded
    speakers = Speakers(loaded.model, prepared.config.method, loaded.encoder)
    held_out = [task for task in prepared.split.splits[given.split] if len(task.dialogues) >= SHOTS + QUERIES]
    held_out = held_out[: given.personas]
    whose = persona_classifier([WHOSE], held_out, SHOTS + QUERIES)
    labels, lenders = ScorerLabels(whose=whose), strangers(held_out)
    folds = {
        task.persona_id: folds_of(task, "following", first=SHOTS, queries=QUERIES)[0]
        for task in encoded(held_out, loaded.encoder)
    }
    ways = given.way or list(WAYS)
    own: dict[str, list[Sample]] = {"the person's real replies": [], **{way: [] for way in ways}}
    wrong: dict[str, list[Sample]] = {way: [] for way in ways if given.wrong}
    for number, (name, fold) in enumerate(folds.items()):
        start, persona = time.monotonic(), speakers.persona(fold)
        receivers = [receiver for receiver, lender in lenders.items() if lender == name] if given.wrong else []
        asked = asked_of(fold, given.replies)
        own["the person's real replies"] += sampled(asked, [e.source.reply.text for e in asked if e.source])
        for way in ways:
            own[way] += sampled(asked, speakers.replies(persona, asked, way, number))
            for receiver in receivers:
                theirs = asked_of(folds[receiver], given.replies)
                wrong[way] += sampled(theirs, speakers.replies(persona, theirs, way, number))
        print(f"{number + 1} of {len(folds)}: {name[:8]} ({time.monotonic() - start:.0f} s)", flush=True)
    rows = {name: labels.read(samples) for name, samples in own.items()}
    print(f"\n{table(rows, {name: labels.read(samples) for name, samples in wrong.items()})}")
    each = sum(map(len, own.values())) // len(own)
    print(f"\n{len(folds)} {given.split} speakers, {each} replies a way; {whose.line if whose else ''}")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
