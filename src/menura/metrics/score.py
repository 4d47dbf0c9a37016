"""The contract of metrics: samples become one score, with a signature that makes two scores comparable."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Aggregation = Literal["pooled", "paml"]  # one figure over all replies | the mean over dialogues, as PAML printed it


@dataclass(frozen=True)
class Sample:
    """A generated reply with its reference, and the model's likelihood of the reference.

    ``reference_nll`` is the summed −log p of the reference's tokens (``reference_tokens`` in all), end token included;
    ``rank`` is the reference's rank among ``candidates`` replies, 0 for the best, by the model's head,
    ``likelihood_rank`` its rank by mean NLL per token.

    ``facts`` are the persona's sentences in this dialogue; ``nli_labels`` has for each +1 if the reply entails it, −1
    if it contradicts it, else 0, by the scorer ``entailed_by``. ``emoji_rank`` is the rank of the persona's emoji among
    all labels of the classifier ``classified_by``, ``emoji_rank_within`` among the ``emojis`` of the scored personas.

    ``references`` are all references if there are several, ``reference`` among them; ``said`` are all candidates from
    which ``reply`` was chosen. Of a model with latents, ``posterior_nll`` is the reference's NLL under the posterior's
    likeliest latent, ``best_nll`` under the latent with the lowest NLL, ``log_posterior`` the posterior itself, given
    the reference.

    ``context`` are the turns before the reply as (speaker, text), whole and in order, ``speaker`` is the persona's name
    in them; a sample of an earlier version has no context.

    ``persona_rank`` is the rank of the persona among those that the classifier ``identified_by`` tells apart.

    Of a model with an auxiliary task, ``auxiliary_nll`` is the summed NLL of that task in this exchange,
    ``auxiliary_tokens`` its number of tokens.
    """

    persona_id: str
    dialogue_id: str
    reply: str
    reference: str
    reference_nll: float
    reference_tokens: int
    rank: int | None = None
    candidates: int = 0
    likelihood_rank: int | None = None
    facts: tuple[str, ...] = ()
    nli_labels: tuple[int, ...] = ()
    entailed_by: str = ""
    emoji_rank: int | None = None
    emoji_rank_within: int | None = None
    emojis: int = 0
    classified_by: str = ""
    references: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    posterior_nll: float | None = None
    best_nll: float | None = None
    log_posterior: tuple[float, ...] = ()
    auxiliary_nll: float | None = None
    auxiliary_tokens: int = 0
    speaker: str = ""
    context: tuple[tuple[str, str], ...] | None = None
    persona_rank: int | None = None
    identified_by: str = ""

    @property
    def all_references(self) -> tuple[str, ...]:
        """Every reference, one or several."""
        return self.references or (self.reference,)


@dataclass(frozen=True)
class Score:
    """One figure with its 95 % interval (``low``, ``high``; personas are the bootstrap units)."""

    metric: str
    value: float
    unit: str
    better: Literal["lower", "higher"]
    low: float
    high: float
    personas: int
    samples: int
    signature: str


class Metric(Protocol):
    """A pure function of samples, in two halves so that resampling personas is cheap.

    ``gather`` turns one persona's samples into sufficient statistics; ``value`` turns those of some personas (the same
    persona may stand there twice) into the figure. ``signature`` names all that changes the figure.
    """

    @property
    def name(self) -> str:
        """The catalogue's name."""

    @property
    def unit(self) -> str:
        """The unit of the figure, as a table shows it."""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Whether lower or higher is better."""

    @property
    def signature(self) -> str:
        """Everything that changes the figure, as one line."""

    def gather(self, samples: Sequence[Sample]) -> Any:
        """Return the sufficient statistics of one persona's samples: all that ``value`` needs of them."""

    def value(self, gathered: Sequence[Any]) -> float:
        """Return the figure over all given personas; ``nan`` if there is nothing to score."""


@runtime_checkable
class SignsSamples(Protocol):
    """A metric whose signature also depends on the samples."""

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Return the signature for these samples."""


@runtime_checkable
class NeedsScorer(Protocol):
    """A metric that needs samples labelled by a trained scorer."""

    @property
    def scorer(self) -> str:
        """The scorer's name; empty if none is needed."""


def describe_references(samples: Sequence[Sample]) -> str:
    """Return the part of a signature that says how many references a sample has: more of them, higher scores."""
    counts = sorted({len(sample.all_references) for sample in samples})
    return f"refs:{counts[0] if counts else 'none'}" + (f"-{counts[-1]}" if len(counts) > 1 else "")


def by_persona(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """Group samples by persona, personas sorted, so that no figure depends on the order of the samples."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.persona_id, []).append(sample)
    return {persona_id: groups[persona_id] for persona_id in sorted(groups)}


def by_dialogue(samples: Sequence[Sample]) -> dict[tuple[str, str], list[Sample]]:
    """Group samples by (persona, dialogue): one such group is one fold of the ``paml`` aggregation."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.persona_id, sample.dialogue_id), []).append(sample)
    return groups


def summed(gathered: Sequence[Sequence[float]]) -> list[float]:
    """Add up statistics column by column, rounded once: the order of the personas cannot show."""
    return [math.fsum(column) for column in zip(*gathered, strict=True)]
