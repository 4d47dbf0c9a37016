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


@dataclass(frozen=True)
class RunStatistics:
    """What a metric gathered of one run, that is of one seed: personas, sorted, and what it needs of each."""

    personas: tuple[str, ...]
    gathered: tuple[Any, ...]
    samples: int


@runtime_checkable
class Recentres(Protocol):
    """An ability: the figure of resampled personas is out of place because a persona may stand there twice."""

    def recentred(self, figures: NDArray[Any], value: float) -> NDArray[Any]:
        """Return the resamples' figures, moved to lie about ``value``."""


def score(metric: Metric, samples: Sequence[Sample], *, rounds: int = ROUNDS, seed: int) -> Score:
    """Return the metric's figure on these samples with its 95 % interval and its signature."""
    return score_of_runs(
        metric, [_of_samples(metric, samples)], signature=_signature(metric, samples), rounds=rounds, seed=seed
    )


def score_of_runs(
    metric: Metric, runs: Sequence[RunStatistics], *, signature: str, rounds: int = ROUNDS, seed: int
) -> Score:
    """Return the mean figure of runs of different seeds, with its 95 % interval.

    Personas and, of several runs, seeds are the sampled units: each resample draws personas, the same for all runs, and
    runs. Raises DataError, naming every persona that only some runs have.
    """
    first = runs[0]
    _same_personas(*(run.personas for run in runs))
    draws = _draws(len(first.personas), rounds, seed)
    figures = numpy.array([_resampled(metric, run.gathered, draws) for run in runs])  # (runs, D)
    low, high = percentile_interval(_over_runs(figures, seed))
    return Score(
        metric=metric.name,
        value=_mean([metric.value(run.gathered) for run in runs]),
        unit=metric.unit,
        better=metric.better,
        low=low,
        high=high,
        personas=len(first.personas),
        samples=sum(run.samples for run in runs),
        signature=signature,
    )


def difference_of_runs(
    metric: Metric,
    ours: Sequence[RunStatistics],
    theirs: Sequence[RunStatistics],
    *,
    signatures: tuple[str, str],
    rounds: int = ROUNDS,
    seed: int,
) -> Difference:
    """Return ours minus theirs over runs of the same seeds, in the same order, paired by persona and by seed.

    ``p`` is two-sided: both systems are swapped persona by persona at random, in all runs at once. Raises DataError,
    naming every persona that only one side has.
    """
    _same_personas(*(run.personas for run in (*ours, *theirs)))
    personas = ours[0].personas
    draws = _draws(len(personas), rounds, seed)
    sides = [
        (_resampled(metric, left, draws), _resampled(metric, right, draws)) for left, right in _pairs(ours, theirs)
    ]
    # Python's inf - inf is nan without a warning.
    figures = numpy.array([[a - b for a, b in zip(*side, strict=True)] for side in sides])  # (runs, D)
    low, high = percentile_interval(_over_runs(figures, seed))
    return Difference(
        metric=metric.name,
        value=_mean_difference(metric, _pairs(ours, theirs)),
        unit=metric.unit,
        better=metric.better,
        low=low,
        high=high,
        personas=len(personas),
        p=_swapped_p(metric, _pairs(ours, theirs), rounds=rounds, seed=seed),
        # Two signatures mean that the two systems were not measured in the same way.
        signature=" against ".join(dict.fromkeys(signatures)),
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
    sides = [_of_samples(metric, side) for side in (ours, theirs)]
    signatures = _signature(metric, ours), _signature(metric, theirs)
    return difference_of_runs(metric, sides[:1], sides[1:], signatures=signatures, rounds=rounds, seed=seed)


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


def _of_samples(metric: Metric, samples: Sequence[Sample]) -> RunStatistics:
    return RunStatistics(tuple(by_persona(samples)), tuple(_gathered(metric, samples)), len(samples))


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


def _over_runs(figures: NDArray[Any], seed: int) -> NDArray[Any]:
    """Return the mean over drawn runs of each resample's figures, (runs, D) to (D,).

    Few runs drawn with replacement vary less than runs do; their deviations are widened by sqrt(n / (n - 1)), so that
    the variance of the mean is right (Rao and Wu, 1988).
    """
    runs, rounds = figures.shape
    if runs == 1:
        return numpy.asarray(figures[0])
    # A third stream: neither the personas nor the swaps may depend on which runs are drawn.
    drawn = numpy.random.default_rng([seed, 2]).integers(runs, size=(runs, rounds))
    with numpy.errstate(invalid="ignore"):  # infinite perplexities
        mean = figures.mean(axis=0)
        deviation = numpy.take_along_axis(figures, drawn, axis=0).mean(axis=0) - mean
        widened: NDArray[Any] = mean + deviation * math.sqrt(runs / (runs - 1))
    return widened


_Pairs = Sequence[tuple[Sequence[Any], Sequence[Any]]]  # of each run, what was gathered of ours and of theirs


def _pairs(ours: Sequence[RunStatistics], theirs: Sequence[RunStatistics]) -> _Pairs:
    return [(left.gathered, right.gathered) for left, right in zip(ours, theirs, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return values[0] if len(values) == 1 else math.fsum(values) / len(values)


def _mean_difference(metric: Metric, pairs: _Pairs) -> float:
    return _mean([metric.value(left) - metric.value(right) for left, right in pairs])


def _swapped_p(metric: Metric, pairs: _Pairs, *, rounds: int, seed: int) -> float:
    seen = abs(_mean_difference(metric, pairs))
    if math.isnan(seen):
        return math.nan
    # A second stream: the swaps must not depend on which personas the interval drew.
    swaps = numpy.random.default_rng([seed, 1]).random((rounds, len(pairs[0][0]))) < 0.5  # (D, P)
    least = seen * (1 - 1e-9)  # a swap of all personas is as large, but for rounding
    return (sum(abs(_swapped(metric, pairs, swap)) >= least for swap in swaps.tolist()) + 1) / (rounds + 1)


def _swapped(metric: Metric, pairs: _Pairs, swap: Sequence[bool]) -> float:
    swapped = [
        tuple(
            zip(
                *((b, a) if exchanged else (a, b) for a, b, exchanged in zip(left, right, swap, strict=True)),
                strict=True,
            )
        )
        for left, right in pairs
    ]
    return _mean_difference(metric, [(left, right) for left, right in swapped])


def _same_personas(first: Sequence[str], *others: Sequence[str]) -> None:
    """Raise DataError that names every persona that not all have."""
    everyone, shared = set(first).union(*others), set(first).intersection(*others)
    problems = [
        Problem(DataError.code, f"persona {shown(persona_id)} was scored on one side only", hint="score both alike")
        for persona_id in sorted(everyone - shared)
    ]
    if problems:
        raise DataError.of(problems)
