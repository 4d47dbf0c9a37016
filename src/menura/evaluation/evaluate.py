"""A model, a method and held-out personas become a table: un-adapted, wrong persona, adapted, on the same queries."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import torch

from menura.adaptation.joint_inner_loop import LearnsJointly
from menura.adaptation.masks import PersonaMask
from menura.adaptation.own_words import cache_of
from menura.adaptation.protocol import Adaptation
from menura.adaptation.weight_distance import Distances, WeightDistances
from menura.adaptation.weights import PersonaWeights
from menura.batches.encode import EncodedDialogue, Encoder
from menura.decoding.candidates import Ranker
from menura.errors import ConfigError, EpisodeError, number_of
from menura.evaluation.cost import Cost
from menura.evaluation.folds import Fold, PersonaDraw, asking_for_facts, folds_of
from menura.evaluation.generation import Evaluator, Outputs, text_of
from menura.evaluation.identify import Identification
from menura.evaluation.mask_similarity import Likeness
from menura.evaluation.scorer_labels import ScorerLabels
from menura.evaluation.settings import OF_LIKELIHOOD, EvaluateConfig
from menura.evaluation.systems import (
    ADAPTED,
    BASE,
    COMPARED,
    OF_WEIGHTS,
    REAL,
    UNADAPTED,
    UNCHANGED,
    UPPER,
    Before,
    Part,
    System,
    kinds_with,
)
from menura.memory.recall import memory_of
from menura.metrics import catalogue
from menura.metrics.identification import Identified
from menura.metrics.nearest_candidate import best_of
from menura.metrics.score import Sample, Score
from menura.metrics.significance import Difference, paired_difference, score, value_of
from menura.models.dialogue_model import DialogueModel
from menura.models.layers.latent import Health
from menura.personas.remembering import states_for
from menura.training.data import EncodedTask
from menura.training.precision import Precision, approximately

OF_SECOND_TASK = "ppl-release-sum"  # the metric of the auxiliary task
OutputsByFold = dict[tuple[str, str, int], Outputs]  # by row, persona and fold


@dataclass(frozen=True)
class SystemRow:
    """One system over all personas: its outputs by draw of the support, its scores and its cost."""

    kind: str
    shots: int
    draws: tuple[Outputs, ...]
    seconds: float = 0.0  # of adapting, mean over personas
    kilobytes: float = 0.0  # of a persona's weights
    distances: Distances | None = None  # of adapted weights, from the initial ones and from one another
    masks: Mapping[str, PersonaMask] = field(default_factory=dict)  # by persona, of a method that prunes for each
    likeness: Likeness | None = None  # of the masks, against that of the personas
    identified: tuple[Identified, ...] = ()  # whether these personas are told apart
    drawn_replies: tuple[str | None, ...] = ()
    scores: Mapping[str, Score] = field(default_factory=dict)
    by_draw: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # each metric's value of each draw

    @property
    def label(self) -> str:
        """The name of the row."""
        return f"{self.kind}, K={self.shots}" if self.shots else self.kind

    @property
    def scored(self) -> tuple[Sample, ...]:
        """Every query exchange, nothing generated."""
        return tuple(sample for outputs in self.draws for sample in outputs.scored)

    @property
    def generated(self) -> tuple[Sample, ...]:
        """The exchanges with a generated reply and ranks."""
        return tuple(sample for outputs in self.draws for sample in outputs.generated)

    def samples(self, metric: str) -> tuple[Sample, ...]:
        """Return the samples of a metric."""
        return self.scored if metric.startswith(OF_LIKELIHOOD) else self.generated

    def drawn(self, metric: str) -> Iterator[list[Sample]]:
        """Yield the samples of a metric, draw by draw."""
        for outputs in self.draws:
            yield outputs.scored if metric.startswith(OF_LIKELIHOOD) else outputs.generated

    @property
    def notes(self) -> str:
        """The cost of a persona and of a reply, and the distance of adapted weights, as text."""
        said = [self.distances.said] if self.distances else []
        log_posteriors = [each for outputs in self.draws for each in outputs.log_posteriors]
        said += [Health.of(torch.cat(log_posteriors)).said] if log_posteriors else []
        said += self.likeness.lines() if self.likeness else []
        return ", ".join([self.cost, *said])

    @property
    def cost(self) -> str:
        """The cost of a persona and of a reply, as text."""
        tokens = sum(outputs.reply_tokens for outputs in self.draws)
        said = [f"{self.seconds:.1f} s to adapt", f"{self.kilobytes:,.0f} KB"] if self.kilobytes else []
        said += [f"{sum(judged.context_tokens for judged in self.draws) / max(len(self.scored), 1):.0f} tokens read"]
        said += [f"{tokens / sum(judged.reply_seconds for judged in self.draws):.0f} tokens/s"] if tokens else []
        return ", ".join(said)


@dataclass(frozen=True)
class Results:
    """The rows of one table, and paired differences of its adapted rows to others.

    ``about`` are the conditions as a table shows them, ``origin`` those that a program compares: settings, hashes of
    code and data.
    """

    rows: tuple[SystemRow, ...]
    differences: tuple[tuple[str, str, Mapping[str, Difference]], ...]  # (ours, theirs, by metric)
    about: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Evaluation:
    """The evaluation of a method on some personas.

    ``bare`` are weights under which the model is its base; empty if it is anyway. ``precomputed`` are weights adapted
    already on a persona's first dialogues, by persona and shots. ``dtype`` is that of adapting; evaluation is always in
    float32. ``scorer_labels`` adds the labels of trained scorers to samples before they are scored.
    """

    model: DialogueModel[Any]
    encoder: Encoder
    method: Adaptation
    tasks: Sequence[EncodedTask]
    wrong_personas: Mapping[str, str]  # the other persona whose weights are used in the wrong-persona row
    config: EvaluateConfig
    bare: PersonaWeights = field(default_factory=dict)
    precomputed: Mapping[tuple[str, int], PersonaWeights] = field(default_factory=dict)
    dtype: Precision = "float32"
    scorer_labels: ScorerLabels = field(default_factory=ScorerLabels)
    rank: Ranker | None = None
    say: Callable[[str], None] = print

    def __post_init__(self) -> None:
        """Check that every persona has support and query."""
        config, needed = self.config, self.config.needed
        assert config.metrics, "the usual ones of the text are taken before"
        short = [t.persona_id for t in self.tasks if len(t.dialogues) < needed]
        if short or not self.tasks:
            first = f", the first is {short[0]!r}" if short else ""
            raise EpisodeError(
                f"{len(short)} of {number_of(len(self.tasks), 'persona')} have fewer than "
                f"{number_of(needed, 'dialogue')}{first}"
            )
        self.folds = [self._folds(draw) for draw in range(config.draws)]
        queries = [fold.exchanges for folds in self.folds[0].values() for fold in folds]
        # Sorted, so that one persona's distractors do not depend on the order of the others.
        pool = sorted(text_of(self.encoder, exchange) for exchanges in queries for exchange in exchanges)
        self.evaluator = Evaluator(
            self.model,
            self.encoder,
            config.decoding,
            config.max_new_tokens,
            config.replies,
            config.candidates if config.ranks else 0,
            pool,
            config.seed,
            config.generates,
            config.ranking,
            self.rank,
            config.strength,
            second_task=OF_SECOND_TASK in config.metrics,
            min_new_tokens=config.min_new_tokens,
        )
        self.queries = queries

    def results(self) -> Results:
        """Run every row and score it."""
        scored = [self._scored(row) for row in self._read(self.rows())]
        return Results(tuple(scored), tuple(self._differences(scored)))

    def rows(self) -> list[SystemRow]:
        """Run every row."""
        rows = [row for row in (self._unadapted_rows()) if row.scored]
        for shots in self.config.shots:
            if shots:
                rows += self._rows(shots)
        return rows

    def _read(self, rows: Sequence[SystemRow]) -> list[SystemRow]:
        """Label the replies of all rows at once: many occur in several rows."""
        told = iter(self.scorer_labels.read([sample for row in rows for sample in row.generated]))
        return [
            replace(
                row,
                draws=tuple(
                    replace(outputs, generated=list(islice(told, len(outputs.generated)))) for outputs in row.draws
                ),
            )
            for row in rows
        ]

    def _folds(self, draw: int) -> dict[str, list[Fold]]:
        config = self.config
        drawn = f"{config.seed}:{draw}" if draw else ""
        folds = {
            task.persona_id: folds_of(
                task, config.protocol, first=max(config.shots), queries=config.queries, draw=drawn
            )
            for task in self.tasks
        }
        if config.ask_facts:
            shots = min(shots for shots in config.shots if shots)  # all that is asked was said in each row's support
            return {name: [asking_for_facts(fold, self.encoder, shots) for fold in own] for name, own in folds.items()}
        return folds

    def _unadapted_rows(self) -> Iterator[SystemRow]:
        for kind in self.kinds_unadapted:
            outputs = self.unadapted(kind)
            yield SystemRow(kind, 0, (outputs,))
            self.say(f"{kind}: {number_of(len(self.tasks), 'persona')}")
            if self.config.upper_bound and kind == UNADAPTED:
                yield SystemRow(UPPER, 0, (replace(outputs, generated=list(map(_nearest, outputs.generated))),))
            if self.scorer_labels.whose and kind == UNADAPTED:
                real = [replace(sample, reply=sample.reference) for sample in outputs.generated]
                yield SystemRow(REAL, 0, (replace(outputs, generated=real),))

    @property
    def kinds_unadapted(self) -> tuple[str, ...]:
        """The rows in which nobody is adapted."""
        return (BASE, UNADAPTED) if self.bare else (UNADAPTED,)

    def unadapted(self, kind: str) -> Outputs:
        """Return the outputs of all personas in a row in which nobody is adapted."""
        return self.evaluator.evaluate(self.queries, replace(UNCHANGED, weights=self.bare if kind == BASE else {}))

    def _rows(self, shots: int) -> list[SystemRow]:
        """Adapt every persona once per fold; its parts serve its own rows and another persona's wrong-persona rows."""
        kinds = list(kinds_with(self.parts))
        names = [name for kind in kinds for name in (kind.wrong, kind.name) if name]
        drawn: dict[str, list[Outputs]] = {name: [] for name in names}
        cost, identification = self.cost_of(shots), self.identification()
        for draw, folds in enumerate(self.folds):
            outputs = self._one_draw(shots, draw, folds, cost, identification)
            for name in names:
                joined = Outputs()
                for persona_id, own in folds.items():
                    for number in range(len(own)):
                        joined.add(outputs[name, persona_id, number])
                drawn[name].append(joined)
        told_apart = identification.results()
        return [
            SystemRow(
                *(name, shots, tuple(drawn[name]), *(cost.each if name in OF_WEIGHTS else (0.0, 0.0))),
                distances=cost.drift.distances() if name == ADAPTED else None,
                masks=cost.masks if name == ADAPTED else {},
                identified=told_apart.get(name, ()),
            )
            for name in names
        ]

    def cost_of(self, shots: int) -> Cost:
        """Return the cost of adapting, still of nobody."""
        del shots
        return Cost(WeightDistances(sum(p.numel() for p in self.model.parameters())))

    def identification(self) -> Identification:
        """Return what tells the personas apart, still under no persona."""
        queries = [own[0].exchanges for own in self.folds[0].values()]
        return Identification(self.evaluator, queries, self.config.max_prompt_tokens, self.config.seed)

    @property
    def parts(self) -> frozenset[Part]:
        """The parts of a persona that are made here."""
        config = self.config
        wanted: dict[Part, bool] = {
            "weights": self.method.has_inner_loop,
            "prompt": config.prompt,
            "memory": bool(config.memory_tokens),
            "cache": bool(config.cache_weight),
        }
        return frozenset(part for part, made in wanted.items() if made)

    def _one_draw(
        self,
        shots: int,
        draw: int,
        folds: Mapping[str, Sequence[Fold]],
        cost: Cost,
        identification: Identification,
    ) -> OutputsByFold:
        outputs: OutputsByFold = {}
        for done, persona_id in enumerate(folds, start=1):
            outputs |= self.one_persona(PersonaDraw(shots, draw, persona_id), cost, identification)
            if done % 8 == 0 or done == len(folds):
                drawn = f", draw {draw + 1}" if draw else ""
                self.say(f"{number_of(shots, 'shot')}: {done} of {number_of(len(folds), 'persona')}{drawn}")
        return outputs

    def one_persona(self, drawn: PersonaDraw, cost: Cost, identification: Identification) -> OutputsByFold:
        """Return outputs by row, persona and fold: those of one persona's folds, and of their receivers."""
        shots, draw, persona_id = drawn.shots, drawn.draw, drawn.persona_id
        folds, outputs = self.folds[draw], {}
        for index, fold in enumerate(folds[persona_id]):
            for system in self._systems(fold, shots, draw, cost):
                kind = system.kind
                outputs[kind.name, persona_id, index] = self._outputs_of(fold, system)
                if self.config.identify and not draw and not index:
                    identification.judge(system)
                for other, number in self._receivers(persona_id, index, folds) if kind.wrong else ():
                    outputs[kind.wrong, other, number] = self._outputs_of(folds[other][number], system)
        return outputs

    def _systems(self, fold: Fold, shots: int, draw: int, cost: Cost) -> Iterator[System]:
        """Yield a persona as each row has it."""
        support = fold.support(shots)
        weights = self._adapted(fold, shots, draw, cost) if "weights" in self.parts else {}
        before: dict[Part, Before] = {"prompt": lambda exchange: support, "memory": self._recalled(support)}
        cache = None
        if "cache" in self.parts:
            cache = cache_of(self.model, weights, support).weighing(self.config.cache_weight)
        for kind in kinds_with(self.parts):
            yield System(
                kind,
                weights if "weights" in kind.parts else {},
                next((before[part] for part in before if part in kind.parts), None),
                cache if "cache" in kind.parts else None,
            )

    def _recalled(self, support: Sequence[EncodedDialogue]) -> Before:
        memory = memory_of(support, states_for(self.config.memory_by, self.model, self.encoder))
        return lambda exchange: memory.recalled_for(exchange, self.encoder, self.config.memory_tokens)

    def _receivers(self, stranger: str, index: int, folds: Mapping[str, Sequence[Fold]]) -> Iterator[tuple[str, int]]:
        """Yield the persona and fold for which a fold serves as wrong persona; a fold of few serves several."""
        for receiver in (receiver for receiver, lender in self.wrong_personas.items() if lender == stranger):
            for number in range(index, len(folds[receiver]), len(folds[stranger])):
                yield receiver, number

    def _adapted(self, fold: Fold, shots: int, draw: int, cost: Cost) -> PersonaWeights:
        if not draw and self.config.protocol == "following" and (fold.persona_id, shots) in self.precomputed:
            return self.precomputed[fold.persona_id, shots]
        began = time.perf_counter()
        with approximately(self.dtype, self.model.device):
            if isinstance(self.method, LearnsJointly):
                weights, mask = self.method.adapted(self.model, fold.support(shots))
                cost.masks.setdefault(fold.persona_id, mask)
            else:
                weights = self.method.adapt(self.model, fold.support(shots))
        cost.seconds.append(time.perf_counter() - began)
        cost.kilobytes = sum(value.nbytes for value in weights.values()) / 1000
        if not draw:
            cost.drift.add(dict(self.model.named_parameters()), weights)
        return weights

    def _outputs_of(self, fold: Fold, system: System) -> Outputs:
        return self.evaluator.evaluate([fold.exchanges], system, prompt_limit=self.config.max_prompt_tokens)

    def _scored(self, row: SystemRow) -> SystemRow:
        metrics = catalogue.named(self.config.metrics)
        scores = {m.name: score(m, row.samples(m.name), seed=self.config.seed) for m in metrics}
        by_draw = {m.name: tuple(value_of(m, samples) for samples in row.drawn(m.name)) for m in metrics}
        return replace(row, scores=scores, by_draw=by_draw)

    def _differences(self, rows: Sequence[SystemRow]) -> Iterator[tuple[str, str, Mapping[str, Difference]]]:
        for ours in rows:
            kinds = COMPARED.get(ours.kind, ())
            for theirs in (row for row in rows if row.kind in kinds and row.shots in (0, ours.shots)):
                yield ours.label, theirs.label, self._compared(ours, theirs)

    def _compared(self, ours: SystemRow, theirs: SystemRow) -> Mapping[str, Difference]:
        return {
            metric.name: paired_difference(
                metric, ours.samples(metric.name), theirs.samples(metric.name), seed=self.config.seed
            )
            for metric in catalogue.named(self.config.metrics)
        }


def _nearest(sample: Sample) -> Sample:
    """Return a sample whose reply is the candidate nearest to the references (spec A14)."""
    if not sample.said:
        raise ConfigError("upper bound: this model says no candidates", hint="leave --upper-bound out")
    return replace(sample, reply=sample.said[best_of(sample.said, sample.references or (sample.reference,))])
