"""What a metric is: samples become one score, with the line that makes two scores comparable."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

Aggregation = Literal["pooled", "paml"]  # one figure over all replies | the mean over dialogues, as PAML printed it


@dataclass(frozen=True)
class Sample:
    """A generated reply beside its reference, and what the model thought of the reference.

    ``reference_nats`` is the summed −log p of the reference's tokens and its end token (``reference_tokens`` in all,
    the end token counted); ``rank`` is the reference's place among ``candidates`` replies, 0 for the best, by what the
    model chooses by, ``likelihood_rank`` its place by the mean nats of a token.

    ``facts`` are the persona's sentences in this dialogue; ``verdicts`` says of each whether the reply entails it (+1),
    contradicts it (−1) or neither (0), by the scorer ``entailed_by``. ``emoji_rank`` is the place of the persona's
    emoji among all that the classifier ``classified_by`` gives the reply, ``emoji_rank_within`` among the ``emojis`` of
    the personas scored.

    ``references`` are all references where there are several, ``reference`` among them; ``said`` are all candidates
    that ``reply`` was chosen from. Of a model with a latent act, ``posterior_nats`` are those of the reference under
    the act that the model recognises in it, ``best_nats`` those under the act that makes it likeliest.

    Of a model that learns from a second stream, ``auxiliary_nats`` are the summed nats of what that stream predicts in
    this exchange, ``auxiliary_tokens`` how many tokens that is.
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
    auxiliary_nll: float | None = None
    auxiliary_tokens: int = 0

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

    ``gather`` turns one persona's samples into statistics; ``value`` turns the statistics of some personas (the same
    persona may stand there twice) into the figure. ``signature`` names all that changes the figure.
    """

    @property
    def name(self) -> str:
        """The catalogue's name."""

    @property
    def unit(self) -> str:
        """What the figure counts, as a table shows it."""

    @property
    def better(self) -> Literal["lower", "higher"]:
        """Which way is an improvement."""

    @property
    def signature(self) -> str:
        """Everything that changes the figure."""

    def gather(self, samples: Sequence[Sample]) -> Any:
        """Return what ``value`` needs to know of one persona's samples."""

    def value(self, gathered: Sequence[Any]) -> float:
        """Return the figure over all personas given; ``nan`` where nothing is to be scored."""


@runtime_checkable
class SignsSamples(Protocol):
    """An ability: the samples themselves hold something that decides whether two scores can be compared."""

    def signature_of(self, samples: Sequence[Sample]) -> str:
        """Return the signature, completed by what these samples say."""


@runtime_checkable
class NeedsScorer(Protocol):
    """An ability: the samples must have been read by a trained scorer before."""

    @property
    def scorer(self) -> str:
        """Which one; empty where none is needed."""


def references_said(samples: Sequence[Sample]) -> str:
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
