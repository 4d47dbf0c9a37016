"""A scorer is compared with human labels: accuracy and recalls, with intervals."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from menura.errors import DataError, shown
from menura.metrics.significance import wilson
from menura.scorers.classifier import Classifier, LabelledText, log_probs


@dataclass(frozen=True)
class Count:
    """Hits of a total, with the 95 % interval of the share (Wilson)."""

    name: str
    hits: int
    total: int

    @property
    def share(self) -> float:
        """In 0..1."""
        return self.hits / self.total if self.total else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share."""
        return wilson(self.hits, self.total)

    @property
    def shown(self) -> str:
        """As a table shows it, in per cent."""
        if not self.total:
            return "n/a"
        low, high = self.interval
        return f"{100 * self.share:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


@dataclass(frozen=True)
class Checked:
    """The result of a check; ``figures`` over all examples, the first one the accuracy, ``recalls`` by label.

    ``said`` names the examples.
    """

    figures: tuple[Count, ...]
    recalls: tuple[Count, ...]
    said: str = ""

    @property
    def accuracy(self) -> Count:
        """The share whose label came first."""
        return self.figures[0]


def checked(
    classifier: Classifier, examples: Sequence[LabelledText], *, tops: Sequence[int] = (1,), within: Sequence[str] = ()
) -> Checked:
    """Evaluate a classifier on examples; ``tops`` 5 is the top-5 accuracy.

    ``within``: accuracy on the examples of these labels, among these labels only. Raises DataError for a label that
    the classifier does not have.
    """
    known = {label: place for place, label in enumerate(classifier.labels)}
    unknown = sorted({e.label for e in examples} - set(known))
    if unknown:
        raise DataError(
            f"{len(unknown)} labels are none of the scorer's, the first is {shown(unknown[0])}",
            hint=f"it knows {', '.join(classifier.labels[:8])}" + ", …" * (len(known) > 8),
            code="unknown_label",
        )
    scores = log_probs(classifier, [example.texts for example in examples])
    wanted = torch.tensor([known[example.label] for example in examples])
    places = _places(scores, wanted)
    figures = [Count("accuracy" if top == 1 else f"top {top}", int((places < top).sum()), len(places)) for top in tops]
    if within:
        figures.append(_within(scores, wanted, [known[label] for label in within if label in known]))
    commonest = Counter(example.label for example in examples).most_common(1)
    figures += [Count(f"always {label}", times, len(examples)) for label, times in commonest]
    rows = [(label, places[wanted == place]) for label, place in known.items()]
    return Checked(tuple(figures), tuple(Count(label, int((row < 1).sum()), len(row)) for label, row in rows))


def _places(scores: Tensor, wanted: Tensor) -> Tensor:
    """Return the rank of the wanted label; ties count against it."""
    own = scores.gather(1, wanted[:, None])
    return (scores >= own).sum(1) - 1


def _within(scores: Tensor, wanted: Tensor, labels: Sequence[int]) -> Count:
    rows = torch.isin(wanted, torch.tensor(labels))
    own = torch.tensor([labels.index(place) for place in wanted[rows].tolist()], dtype=torch.long)
    places = _places(scores[rows][:, labels], own)
    return Count(f"within {len(labels)}", int((places < 1).sum()), len(places))
