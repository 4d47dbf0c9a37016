"""Persona masks become a test: do similar personas keep the same private weights?

CMAML claims so without a measurement. Here masks are compared by the Jaccard index of their edges, personas by the
TF-IDF cosine of their facts, and the two by the rank correlation over all pairs (Spearman), with Mantel's test: the
share of random permutations of the personas that correlate as much.

Shape letters: P personas.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from menura.adaptation.masks import MaskStatistics, PersonaMask, jaccards, mask_statistics
from menura.tasks.similarity import Matrix, similarities
from menura.tasks.task import Task

DEALS = 1000  # random permutations of the personas


@dataclass(frozen=True)
class Likeness:
    """Statistics of masks, and the correlation of their similarity with that of personas, with its p value.

    Both are None for personas without facts.
    """

    mask_statistics: MaskStatistics
    correlation: float | None
    p: float | None

    def lines(self) -> list[str]:
        """Return it as lines of text."""
        return [*self.mask_statistics.lines(), *self.mask_statistics.warnings(), self.correlated]

    @property
    def correlated(self) -> str:
        """The correlation as text."""
        if self.correlation is None:
            return "personas without facts: whether masks follow them is not known"
        return (
            f"masks that are alike against personas that are: rank correlation {self.correlation:+.3f}, "
            f"p {self.p:.3f} ({self.mask_statistics.personas} personas, {DEALS} permutations)"
        )


def likeness(masks: Sequence[PersonaMask], tasks: Sequence[Task], *, seed: int = 0) -> Likeness:
    """Compare masks with their personas, in the same order."""
    if not all(task.facts for task in tasks):
        return Likeness(mask_statistics(masks), None, None)
    return Likeness(mask_statistics(masks), *mantel(jaccards(masks).numpy(), similarities(tasks), seed))


def mantel(one: Matrix, other: Matrix, seed: int) -> tuple[float, float]:
    """Return the rank correlation of two (P, P) matrices, and the share of permutations that correlate as much."""
    above = numpy.triu_indices(len(one), 1)
    fixed, ranked = _standard(_ranks(one[above])), numpy.zeros_like(other)
    ranked[above] = _standard(_ranks(other[above]))
    ranked += ranked.T
    rng = numpy.random.default_rng(seed)
    found = float(fixed @ ranked[above])
    deals = [rng.permutation(len(one)) for _ in range(DEALS)]
    dealt = [abs(float(fixed @ ranked[numpy.ix_(deal, deal)][above])) for deal in deals]
    return found, (1 + sum(each >= abs(found) for each in dealt)) / (1 + DEALS)


def _ranks(values: "numpy.ndarray[tuple[int], numpy.dtype[numpy.float64]]") -> Matrix:
    """Return ranks; equal values share their mean rank."""
    _, place, times = numpy.unique(values, return_inverse=True, return_counts=True)
    last = numpy.cumsum(times)
    ranks: Matrix = (last - (times - 1) / 2)[place]
    return ranks


def _standard(values: Matrix) -> Matrix:
    """Return values of mean 0 and length 1; zeros where all are equal, which correlate with nothing."""
    centred = values - values.mean()
    length = float(numpy.linalg.norm(centred))
    standard: Matrix = centred / length if length else centred
    return standard
