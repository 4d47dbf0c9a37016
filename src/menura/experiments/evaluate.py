"""A model, a method and held-out personas become a table: un-adapted, wrong persona, adapted, on the same queries."""

import hashlib
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from menura.adaptation.catalogue import Method
from menura.adaptation.weights import PersonaWeights, holding
from menura.batches.encode import EncodedExchange, Encoder
from menura.decoding.choice import Choice, Nucleus
from menura.decoding.generate import generate
from menura.errors import ConfigError, EpisodeError
from menura.experiments.data_config import EncodedTask
from menura.metrics import catalogue
from menura.metrics.hits import draw_candidates, rank_of
from menura.metrics.score import Sample, Score
from menura.metrics.significance import Difference, paired_difference, score
from menura.models.dialogue_model import DialogueModel, RanksReplies

OF_LIKELIHOOD = ("ppl", "bits")  # metrics by the beginning of their name that need no generated reply
ROWS_AT_ONCE = 16  # prompts in one generation: bounds memory, changes no reply
UNADAPTED, WRONG, ADAPTED = "un-adapted", "wrong persona", "adapted"


@dataclass(frozen=True)
class EvaluateConfig:
    """How a table is made.

    The query dialogues are the ``queries`` that follow the largest of ``shots``, the same for every row; perplexity is
    over all their exchanges, generation and ranking over the first ``replies`` of each persona (0 = all).
    """

    shots: tuple[int, ...] = (5,)
    queries: int = 2
    replies: int = 4
    candidates: int = 20
    choice: Choice = field(default_factory=Nucleus)
    limit: int = 40  # tokens a generated reply
    metrics: tuple[str, ...] = catalogue.DEFAULT
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to score."""
        if not self.shots or min(self.shots) < 0:
            raise ConfigError(f"shots {self.shots}: give at least one number, none negative")
        for name, least in (("queries", 1), ("replies", 0), ("candidates", 2), ("limit", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}: {getattr(self, name)}, must be at least {least}")


@dataclass(frozen=True)
class Row:
    """One system over all personas: what it said and how likely it found the references."""

    label: str
    shots: int
    likely: tuple[Sample, ...]  # every query exchange, nothing generated
    spoken: tuple[Sample, ...]  # those replied to and ranked
    seconds: float = 0.0  # adapting, a persona on average
    scores: Mapping[str, Score] = field(default_factory=dict)

    def samples(self, metric: str) -> tuple[Sample, ...]:
        """Return the samples a metric is over."""
        return self.likely if metric.startswith(OF_LIKELIHOOD) else self.spoken


@dataclass(frozen=True)
class Results:
    """The rows of one table and the paired differences to its adapted rows."""

    rows: tuple[Row, ...]
    differences: tuple[tuple[str, str, Mapping[str, Difference]], ...]  # (ours, theirs, by metric)
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Evaluation:
    """One evaluation under way.

    ``bare`` are weights under which the model is its base; empty where it is anyway. ``known`` are weights adapted
    already, by persona and shots.
    """

    model: DialogueModel[Any]
    encoder: Encoder
    method: Method
    tasks: Sequence[EncodedTask]
    strangers: Mapping[str, str]  # whose adaptation stands in the wrong-persona row
    config: EvaluateConfig
    bare: PersonaWeights = field(default_factory=dict)
    known: Mapping[tuple[str, int], PersonaWeights] = field(default_factory=dict)
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        """See to it that every persona has support and query."""
        needed = max(self.config.shots) + 1
        short = [t.persona_id for t in self.tasks if len(t.dialogues) < needed]
        if short or not self.tasks:
            first = f", the first is {short[0]!r}" if short else ""
            raise EpisodeError(f"{len(short)} of {len(self.tasks)} personas have fewer than {needed} dialogues{first}")
        self.by_id = {task.persona_id: task for task in self.tasks}
        # Sorted, so that the candidates drawn for one persona do not depend on the order of the others.
        self.pool = sorted(self._text(e) for task in self.tasks for e in self._query(task))

    def results(self) -> Results:
        """Run every row and score it."""
        rows = [row for row in (self._unadapted_rows()) if row.likely]
        for shots in self.config.shots:
            if shots:
                rows += self._adapted_rows(shots)
        scored = [self._scored(row) for row in rows]
        return Results(tuple(scored), tuple(self._differences(scored)))

    def _unadapted_rows(self) -> Iterator[Row]:
        if self.bare:
            yield self._row("base", self.bare)
        yield self._row(UNADAPTED, {})

    def _row(self, label: str, weights: PersonaWeights) -> Row:
        likely, spoken = self._judged(self.tasks, weights)
        self.say(f"{label}: {len(self.tasks)} personas")
        return Row(label, 0, tuple(likely), tuple(spoken))

    def _adapted_rows(self, shots: int) -> list[Row]:
        """Adapt every persona once; its weights serve its own row and that of those it is the stranger of."""
        receivers = defaultdict(list)
        for receiver, stranger in self.strangers.items():
            receivers[stranger].append(receiver)
        own: list[tuple[list[Sample], list[Sample]]] = []
        wrong: dict[str, tuple[list[Sample], list[Sample]]] = {}
        seconds, adapted = 0.0, 0
        for number, task in enumerate(self.tasks, start=1):
            began = time.perf_counter()
            weights = self.known.get((task.persona_id, shots))
            if weights is None:
                weights = self.method.adapt(self.model, task.dialogues[:shots])
                seconds, adapted = seconds + time.perf_counter() - began, adapted + 1
            own.append(self._judged([task], weights))
            for receiver in receivers[task.persona_id]:
                wrong[receiver] = self._judged([self.by_id[receiver]], weights)
            if number % 8 == 0 or number == len(self.tasks):
                self.say(f"{shots} shots: {number} of {len(self.tasks)} personas")
        each = seconds / max(adapted, 1)
        strange = [wrong[task.persona_id] for task in self.tasks]
        return [
            self._joined(f"{WRONG}, K={shots}", shots, strange, each),
            self._joined(f"{ADAPTED}, K={shots}", shots, own, each),
        ]

    def _joined(
        self, label: str, shots: int, parts: Sequence[tuple[list[Sample], list[Sample]]], seconds: float
    ) -> Row:
        likely = tuple(sample for part in parts for sample in part[0])
        return Row(label, shots, likely, tuple(sample for part in parts for sample in part[1]), seconds)

    @torch.no_grad()
    def _judged(self, tasks: Sequence[EncodedTask], weights: PersonaWeights) -> tuple[list[Sample], list[Sample]]:
        likely: list[Sample] = []
        chosen: list[tuple[int, EncodedExchange, Sample]] = []
        with holding(self.model, weights):
            for task in tasks:
                exchanges = self._query(task)
                loss = self.model.loss(self.model.batch(exchanges))
                found = [
                    Sample(e.persona_id, e.dialogue_id, "", self._text(e), nats, len(e.reply))
                    for e, nats in zip(exchanges, loss.nats.tolist(), strict=True)
                ]
                likely += found
                numbered = zip(range(self.config.replies or len(exchanges)), exchanges, found, strict=False)
                chosen += numbered
            # Generating and ranking take most of the time: not where only likelihoods are asked for.
            speaks = any(not name.startswith(OF_LIKELIHOOD) for name in self.config.metrics)
            return likely, self._spoken(chosen) if speaks else []

    def _spoken(self, chosen: Sequence[tuple[int, EncodedExchange, Sample]]) -> list[Sample]:
        """Reply to each exchange and rank its reference; like lengths share a batch, the order is kept."""
        said: dict[int, Sample] = {}
        by_length = sorted(range(len(chosen)), key=lambda place: len(chosen[place][1].prefix))
        for start in range(0, len(by_length), ROWS_AT_ONCE):
            places = by_length[start : start + ROWS_AT_ONCE]
            prompts = self.model.batch([replace(chosen[place][1], reply=()) for place in places])
            seeds = [_seed(self.config.seed, chosen[place][1], chosen[place][0]) for place in places]
            end, limit = self.encoder.layout.end, self.config.limit
            state = self.model.begin(prompts)  # read once, to rank from and to reply from
            ranks = [
                self._rank(chosen[place][1], seeds[row], self._row_of(state, row)) for row, place in enumerate(places)
            ]
            replies = generate(self.model, prompts, self.config.choice, end=end, limit=limit, seeds=seeds, begun=state)
            for place, rank, ids in zip(places, ranks, replies, strict=True):
                text = self.encoder.reply_text(ids)
                said[place] = replace(chosen[place][2], reply=text, rank=rank, candidates=self.config.candidates)
        return [said[place] for place in range(len(chosen))]

    def _row_of(self, state: Any, row: int) -> Any:
        return self.model.select_rows(state, torch.tensor([row], device=self.model.device))

    def _rank(self, exchange: EncodedExchange, seed: int, begun: Any) -> int:
        """Return the reference's place among the candidates by mean nats per token (spec section 9)."""
        texts, gold = draw_candidates(
            self._text(exchange), self.pool, self.config.candidates, random.Random(f"{seed}:candidates")
        )
        replies = [(*self.encoder.tokens.encode(text), self.encoder.layout.end) for text in texts]
        batch = self.model.batch([replace(exchange, reply=reply) for reply in replies])
        if isinstance(self.model, RanksReplies):
            nats = self.model.reply_nats(batch, begun)
        else:
            nats = self.model.loss(batch).nats
        return rank_of((nats / batch.reply_tokens).tolist(), gold)

    def _query(self, task: EncodedTask) -> list[EncodedExchange]:
        first = max(self.config.shots)
        return [e for dialogue in task.dialogues[first : first + self.config.queries] for e in dialogue]

    def _text(self, exchange: EncodedExchange) -> str:
        return self.encoder.tokens.decode(exchange.reply[:-1])

    def _scored(self, row: Row) -> Row:
        metrics = catalogue.named(self.config.metrics)
        scores = {m.name: score(m, row.samples(m.name), seed=self.config.seed) for m in metrics}
        return replace(row, scores=scores)

    def _differences(self, rows: Sequence[Row]) -> Iterator[tuple[str, str, Mapping[str, Difference]]]:
        for ours in rows:
            if not ours.label.startswith(ADAPTED):
                continue
            others = [row for row in rows if not row.shots or (row.shots == ours.shots and row.label.startswith(WRONG))]
            for theirs in others:
                yield ours.label, theirs.label, self._compared(ours, theirs)

    def _compared(self, ours: Row, theirs: Row) -> Mapping[str, Difference]:
        return {
            metric.name: paired_difference(
                metric, ours.samples(metric.name), theirs.samples(metric.name), seed=self.config.seed
            )
            for metric in catalogue.named(self.config.metrics)
        }


def _seed(seed: int, exchange: EncodedExchange, number: int) -> int:
    """Return a stream of its own for each exchange, whatever else is evaluated beside it."""
    key = f"{seed}:{exchange.persona_id}:{exchange.dialogue_id}:{number}"
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6])
