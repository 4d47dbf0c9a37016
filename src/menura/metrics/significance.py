"""The uncertainty of a figure: intervals and tests with personas as the sampled units.

Shape letters: D resamples, P personas.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy
from numpy.typing import NDArray

from menura.errors import ConfigError, DataError, Problem, shown
from menura.metrics.score import Metric, Sample, Score, SignsSamples, by_persona

ROUNDS = 1000  # the 2.5 % tails then hold 25 resamples each
_Z95 = 1.959963984540054  # of the normal distribution, 2.5 % lie above
_TAIL = 40  # one in 40 lies below the interval, one in 40 above: 95 %


@dataclass(frozen=True)
class Difference:
    """Ours minus theirs on the same personas, with its 95 % interval and the chance ``p`` of so large a one."""

    metric: str
    value: float
    unit: str
    better: Literal["lower", "higher"]
    low: float
    high: float
    personas: int
    p: float
    signature: str


@runtime_checkable
class Recentres(Protocol):
    """An ability: the figure of resampled personas is out of place because a persona may stand there twice."""

    def recentred(self, figures: NDArray[Any], value: float) -> NDArray[Any]:
        """Return the resamples' figures, moved to lie about ``value``."""


def score(metric: Metric, samples: Sequence[Sample], *, rounds: int = ROUNDS, seed: int) -> Score:
    """Return the metric's figure on these samples with its 95 % interval and its signature."""
    gathered = _gathered(metric, samples)
    value = metric.value(gathered)
    low, high = percentile_interval(_resampled(metric, gathered, _draws(len(gathered), rounds, seed)))
    return Score(
        metric=metric.name,
        value=value,
        unit=metric.unit,
        better=metric.better,
        low=low,
        high=high,
        personas=len(gathered),
        samples=len(samples),
        signature=_signature(metric, samples),
    )


def value_of(metric: Metric, samples: Sequence[Sample]) -> float:
    """Return the metric's figure on these samples, without an interval."""
    return float(metric.value(_gathered(metric, samples)))


def bootstrap(metric: Metric, samples: Sequence[Sample], *, rounds: int = ROUNDS, seed: int) -> tuple[float, float]:
    """Return the 95 % percentile interval over ``rounds`` resamples of the personas; ``nan`` without samples.

    Replies of one persona are alike, so whole personas are drawn: drawing replies would promise too narrow an interval.
    """
    gathered = _gathered(metric, samples)
    return percentile_interval(_resampled(metric, gathered, _draws(len(gathered), rounds, seed)))


def paired_difference(
    metric: Metric, ours: Sequence[Sample], theirs: Sequence[Sample], *, rounds: int = ROUNDS, seed: int
) -> Difference:
    """Return ours minus theirs, paired: each resample takes the same personas of both systems.

    ``p`` is two-sided, from swapping the two systems persona by persona at random: (k + 1) / (rounds + 1).
    Raises DataError, naming every persona that only one side has.
    """
    _same_personas(ours, theirs)
    left, right = _gathered(metric, ours), _gathered(metric, theirs)
    draws = _draws(len(left), rounds, seed)
    resampled = zip(_resampled(metric, left, draws), _resampled(metric, right, draws), strict=True)
    low, high = percentile_interval(numpy.array([a - b for a, b in resampled]))
    return Difference(
        metric=metric.name,
        value=metric.value(left) - metric.value(right),
        unit=metric.unit,
        better=metric.better,
        low=low,
        high=high,
        personas=len(left),
        p=_swapped_p(metric, left, right, rounds=rounds, seed=seed),
        # Two signatures mean that the two systems were not measured in the same way.
        signature=" against ".join(dict.fromkeys([_signature(metric, ours), _signature(metric, theirs)])),
    )


def wilson(hits: int, total: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of independent cases (Wilson, 1927); 0 to 1 where there is none."""
    if not total:
        return 0.0, 1.0
    share, spread = hits / total, _Z95**2 / total
    middle = (share + spread / 2) / (1 + spread)
    half = _Z95 / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def _signature(metric: Metric, samples: Sequence[Sample]) -> str:
    return metric.signature_of(samples) if isinstance(metric, SignsSamples) else metric.signature


def _gathered(metric: Metric, samples: Sequence[Sample]) -> list[Any]:
    return [metric.gather(group) for group in by_persona(samples).values()]


def _draws(personas: int, rounds: int, seed: int) -> NDArray[numpy.int64]:
    """Return the personas of each resample, (D, P): the same for every metric of one seed."""
    if rounds < 1:
        raise ConfigError(f"rounds: {rounds} must be >= 1")
    if not personas:
        return numpy.zeros((0, 0), dtype=numpy.int64)
    return numpy.random.default_rng(seed).integers(personas, size=(rounds, personas))


def _resampled(metric: Metric, gathered: Sequence[Any], draws: NDArray[numpy.int64]) -> list[float]:
    figures = numpy.array([metric.value([gathered[index] for index in drawn]) for drawn in draws.tolist()])
    if isinstance(metric, Recentres) and len(figures):
        figures = metric.recentred(figures, metric.value(gathered))
    return [float(figure) for figure in figures]  # Python's inf - inf is nan without a warning


def percentile_interval(figures: Sequence[float] | NDArray[Any]) -> tuple[float, float]:
    """Return the 95 % interval of resamples' figures, those that are ``nan`` left out; ``nan`` where all are."""
    known = numpy.array([figure for figure in figures if not math.isnan(figure)])
    if not len(known):
        return math.nan, math.nan
    known.sort()
    below = len(known) // _TAIL
    return float(known[below]), float(known[len(known) - 1 - below])


def _swapped_p(metric: Metric, left: Sequence[Any], right: Sequence[Any], *, rounds: int, seed: int) -> float:
    seen = abs(metric.value(left) - metric.value(right))
    if math.isnan(seen):
        return math.nan
    # A second stream: the swaps must not depend on which personas the interval drew.
    swaps = numpy.random.default_rng([seed, 1]).random((rounds, len(left))) < 0.5  # (D, P)
    least = seen * (1 - 1e-9)  # a swap of all personas is as large, but for rounding
    return (sum(_swapped(metric, left, right, swap) >= least for swap in swaps.tolist()) + 1) / (rounds + 1)


def _swapped(metric: Metric, left: Sequence[Any], right: Sequence[Any], swap: Sequence[bool]) -> float:
    pairs = [(b, a) if swapped else (a, b) for a, b, swapped in zip(left, right, swap, strict=True)]
    return abs(metric.value([a for a, _ in pairs]) - metric.value([b for _, b in pairs]))


def _same_personas(ours: Sequence[Sample], theirs: Sequence[Sample]) -> None:
    left, right = {s.persona_id for s in ours}, {s.persona_id for s in theirs}
    problems = [
        Problem(DataError.code, f"persona {shown(persona_id)} was scored on one side only", hint="score both alike")
        for persona_id in sorted(left ^ right)
    ]
    if problems:
        raise DataError.of(problems)
