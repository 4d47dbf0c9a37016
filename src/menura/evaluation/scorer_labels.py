"""Samples get labels of trained scorers: NLI labels against facts, ranks of emojis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Protocol

from torch import Tensor

from menura.errors import ConfigError, DataError, number_of, shown
from menura.metrics import catalogue
from menura.metrics.attribute_overlap import AttributeOverlap
from menura.metrics.consistency import OfFacts
from menura.metrics.knowledge import Knowledge
from menura.metrics.score import NeedsScorer, Sample
from menura.metrics.whose_reply import WhoseReply
from menura.personas.profiles import told_in
from menura.scorers import store
from menura.scorers.emoji import EmojiClassifier
from menura.scorers.entailment import Entailment
from menura.scorers.persona_classifier import PersonaClassifier
from menura.tasks.task import DialogueView, Task

Facts = Mapping[tuple[str, str], tuple[str, ...]]  # by persona and dialogue


class Entails(Protocol):
    """An NLI scorer: whether a reply entails a sentence (+1), contradicts it (−1), or neither (0)."""

    def nli_labels(self, pairs: Sequence[tuple[str, str]]) -> list[int]:
        """Return one label per (reply, sentence) pair."""


class Guesses(Protocol):
    """A classifier of replies, such as the emoji classifier."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels."""

    def log_probs(self, replies: Sequence[str]) -> Tensor:
        """Return log-probabilities (replies, labels)."""


@dataclass(frozen=True)
class ScorerLabels:
    """The scorers that label samples; ``entailed_by`` and ``classified_by`` name them in signatures.

    ``whose`` tells the personas' replies apart.
    """

    entails: Entails | None = None
    entailed_by: str = ""
    guesses: Guesses | None = None
    classified_by: str = ""
    facts: Facts = field(default_factory=dict)
    personas: tuple[str, ...] = ()  # the emojis that are ranked
    whose: PersonaClassifier | None = None

    def read(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return the samples with labels; equal pairs of reply and fact are scored once."""
        told = [replace(s, facts=self.facts.get((s.persona_id, s.dialogue_id), ())) for s in samples]
        if self.entails:
            told = self._judged(told, self.entails)
        if self.whose:
            told = _identified(told, self.whose)
        return self._guessed(told, self.guesses) if self.guesses else told

    def _judged(self, samples: Sequence[Sample], entails: Entails) -> list[Sample]:
        pairs = list(dict.fromkeys((sample.reply, fact) for sample in samples for fact in sample.facts))
        verdict = dict(zip(pairs, entails.nli_labels(pairs), strict=True))
        return [
            replace(s, nli_labels=tuple(verdict[s.reply, fact] for fact in s.facts), entailed_by=self.entailed_by)
            for s in samples
        ]

    def _guessed(self, samples: Sequence[Sample], guesses: Guesses) -> list[Sample]:
        replies = list(dict.fromkeys(sample.reply for sample in samples))
        likely = dict(zip(replies, guesses.log_probs(replies).tolist(), strict=True))
        place = {label: number for number, label in enumerate(guesses.labels)}
        within = [place[persona] for persona in self.personas]
        return [
            replace(
                s,
                emoji_rank=_rank(likely[s.reply], place[s.persona_id], range(len(place))),
                emoji_rank_within=_rank(likely[s.reply], place[s.persona_id], within),
                emojis=len(within),
                classified_by=self.classified_by,
            )
            for s in samples
        ]


def _identified(samples: Sequence[Sample], whose: PersonaClassifier) -> list[Sample]:
    ranks = whose.ranks([sample.reply for sample in samples], [sample.persona_id for sample in samples])
    return [
        replace(sample, persona_rank=rank, identified_by=whose.line)
        for sample, rank in zip(samples, ranks, strict=True)
    ]


def persona_classifier(metrics: Sequence[str], tasks: Sequence[Task], first: int) -> PersonaClassifier | None:
    """Return a classifier of these personas, trained on their dialogues after the ``first`` ones, if a metric needs it.

    Raises as ``PersonaClassifier.trained``.
    """
    if WhoseReply().name not in metrics:
        return None
    return PersonaClassifier.trained(
        {task.persona_id: [e.reply.text for view in task.dialogues[first:] for e in view.exchanges()] for task in tasks}
    )


def _rank(likely: Sequence[float], own: int, among: Sequence[int]) -> int:
    """Return the rank of ``own`` among ``among``; ties count against it."""
    return sum(likely[other] >= likely[own] for other in among if other != own)


def scorers_needed(metrics: Sequence[str]) -> list[str]:
    """Return the scorers that these metrics need."""
    asked = [metric.scorer for metric in catalogue.named(metrics) if isinstance(metric, NeedsScorer)]
    return sorted({name for name in asked if name})


def check_trained(metrics: Sequence[str], scorers: str = "") -> None:
    """Raise ConfigError, with the command to run, if a metric needs a scorer that is not trained."""
    for name in scorers_needed(metrics):
        store.metadata_of(name, store.folder_of(name, scorers))


def scorer_labels_for(
    metrics: Sequence[str], tasks: Sequence[Task], scorers: str = "", device: str = "cpu"
) -> ScorerLabels:
    """Return the scorers that label these personas' samples for these metrics.

    ``scorers`` is the folder they lie in, the workspace's if empty. Raises DataError where no persona has facts to
    agree with, and where a persona is no emoji of the classifier; ConfigError for metrics that need different facts.
    """
    made = ScorerLabels(facts=_facts_for(metrics, tasks))
    for name in scorers_needed(metrics):
        stored = store.read(name, store.folder_of(name, scorers), device=device)
        line = stored.metadata.line
        if isinstance(stored.classifier, Entailment):
            made = replace(made, entails=stored.classifier, entailed_by=line)
        elif isinstance(stored.classifier, EmojiClassifier):
            personas = _emojis(tasks, stored.classifier.labels)
            made = replace(made, guesses=stored.classifier, classified_by=line, personas=personas)
    return made


def _facts_for(metrics: Sequence[str], tasks: Sequence[Task]) -> Facts:
    """Return the facts that these metrics compare replies with: sentences, for identity metrics profiles too.

    Metrics that compare with none get the sentences, if there are any.
    """
    asked = catalogue.named(metrics)
    with_profiles = any(isinstance(metric, AttributeOverlap) for metric in asked)
    apart = [metric.name for metric in asked if isinstance(metric, OfFacts | Knowledge)]
    facts = _facts_of(tasks, with_profiles=with_profiles)
    if not (with_profiles or apart):
        return facts  # for people who judge the replies
    if not facts:
        raise _no_facts()
    if with_profiles and apart and facts != _facts_of(tasks, with_profiles=False):
        found = f"attribute-overlap counts the values of profiles as facts, {apart[0]} does not"
        raise ConfigError(found, hint="ask for them in two evaluations")
    return facts


def _facts_of(tasks: Sequence[Task], *, with_profiles: bool) -> Facts:
    """Return each persona's facts in each dialogue, including those that no model reads."""
    return {
        (task.persona_id, part.dialogue.dialogue_id): told
        for task in tasks
        for part in task.dialogues
        if (told := _told(part, with_profiles=with_profiles))
    }


def _no_facts() -> DataError:
    hint = "leave the c- metrics out, the knowledge- ones, attribute-overlap, or take a corpus with persona sentences"
    return DataError("no persona of these has facts to agree with", hint=hint, code="no_facts")


def _told(part: DialogueView, *, with_profiles: bool) -> tuple[str, ...]:
    """Return the facts of one dialogue's persona; a profile value that is also a fact occurs once."""
    values = dict.fromkeys(chain.from_iterable(told_in(part).values()) if with_profiles else ())
    return (*part.facts, *(value for value in values if value not in part.facts))


def _emojis(tasks: Sequence[Task], labels: Sequence[str]) -> tuple[str, ...]:
    personas = [task.persona_id for task in tasks]
    unknown = [persona for persona in personas if persona not in labels]
    if unknown:
        raise DataError(
            f"{number_of(len(unknown), 'persona is', 'personas are')} no emoji that the classifier knows, "
            f"the first is {shown(unknown[0])}",
            hint="the e-acc metrics are for tasks by emoji, as in data.corpus=mojitalk",
            code="unknown_label",
        )
    return tuple(personas)
