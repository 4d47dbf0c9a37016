"""Figures get their 95 % intervals: whole units of a study are drawn again and again.

Shape letters: D resamples, I items.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from menura.annotation.study import KeyItem
from menura.errors import ConfigError
from menura.metrics.significance import ROUNDS, percentile_interval

Weights = NDArray[numpy.float64]  # how often each item stands in a resample, (I,)
FEW_UNITS = 10  # of fewer, an interval is too narrow


@dataclass(frozen=True)
class StudyFigure:
    """A figure with its 95 % interval; ``note`` says why there is none where it is ``nan``."""

    value: float
    low: float = math.nan
    high: float = math.nan
    note: str = ""


@dataclass(frozen=True)
class Resampling:
    """How resamples are drawn: by ``unit`` (persona or context), ``rounds`` of them."""

    unit: str
    units: int
    rounds: int
    seed: int

    def weights(self, items: Sequence[KeyItem]) -> NDArray[numpy.float64]:
        """Return how often each item stands in each resample, (D, I): the same units for every figure of a seed."""
        places = [self._unit_of(item) for item in items]
        index = {unit: number for number, unit in enumerate(sorted(set(places)))}
        drawn = numpy.random.default_rng(self.seed).integers(max(len(index), 1), size=(self.rounds, len(index)))
        counts = numpy.zeros((self.rounds, len(index)))
        numpy.add.at(counts, (numpy.arange(self.rounds)[:, None], drawn), 1)
        return counts[:, [index[place] for place in places]] if places else counts

    def figure(self, items: Sequence[KeyItem], value: Callable[[Weights], float]) -> StudyFigure:
        """Return what ``value`` gives for items that stand once each, with its interval."""
        whole = value(numpy.ones(len(items)))
        if math.isnan(whole) or not self.varies(items):
            return StudyFigure(whole)
        return StudyFigure(whole, *percentile_interval([value(drawn) for drawn in self.weights(items)]))

    def varies(self, items: Sequence[KeyItem]) -> bool:
        """Tell whether resamples can differ: those of one unit are all the same, which is no interval."""
        return len({self._unit_of(item) for item in items}) > 1

    def _unit_of(self, item: KeyItem) -> str:
        return item.persona if self.unit == "persona" else f"{item.persona}\0{item.context}"


def resampling_of(items: Sequence[KeyItem], *, rounds: int = ROUNDS, seed: int) -> Resampling:
    """Return how a study's items are resampled; ConfigError for no rounds.

    Replies to one context are alike, and so are those to one persona: personas are drawn whole where one has several
    contexts. Of a single persona, the contexts are drawn.
    """
    if rounds < 1:
        raise ConfigError(f"--rounds {rounds}: must be 1 or more", hint=f"--rounds {ROUNDS}")
    personas = {item.persona for item in items}
    contexts = {(item.persona, item.context) for item in items}
    if len(personas) == 1 or len(personas) == len(contexts):
        return Resampling("context", len(contexts), rounds, seed)
    return Resampling("persona", len(personas), rounds, seed)
