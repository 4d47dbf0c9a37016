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
class ScorerEvaluation:
    """The result of a check; ``figures`` over all examples, the first one the accuracy, ``recalls`` by label.

    ``description`` names the examples.
    """

    figures: tuple[Count, ...]
    recalls: tuple[Count, ...]
    description: str = ""

    @property
    def accuracy(self) -> Count:
        """The share whose label came first."""
        return self.figures[0]


def evaluated(
    classifier: Classifier,
    examples: Sequence[LabelledText],
    *,
    top_k: Sequence[int] = (1,),
    label_subset: Sequence[str] = (),
) -> ScorerEvaluation:
    """Evaluate a classifier on examples; ``top_k`` 5 is the top-5 accuracy.

    ``label_subset``: accuracy on the examples of these labels, among these labels only. Raises DataError for a label
    that the classifier does not have.
    """
    label_index = {label: place for place, label in enumerate(classifier.labels)}
    unknown = sorted({e.label for e in examples} - set(label_index))
    if unknown:
        raise DataError(
            f"{len(unknown)} labels are none of the scorer's, the first is {shown(unknown[0])}",
            hint=f"it knows {', '.join(classifier.labels[:8])}" + ", …" * (len(label_index) > 8),
            code="unknown_label",
        )
    scores = log_probs(classifier, [example.texts for example in examples])
    label_ids = torch.tensor([label_index[example.label] for example in examples])
    ranks = _ranks(scores, label_ids)
    figures = [Count("accuracy" if k == 1 else f"top {k}", int((ranks < k).sum()), len(ranks)) for k in top_k]
    if label_subset:
        figures.append(
            _accuracy_among(scores, label_ids, [label_index[label] for label in label_subset if label in label_index])
        )
    commonest = Counter(example.label for example in examples).most_common(1)
    figures += [Count(f"always {label}", times, len(examples)) for label, times in commonest]
    rows = [(label, ranks[label_ids == place]) for label, place in label_index.items()]
    return ScorerEvaluation(tuple(figures), tuple(Count(label, int((row < 1).sum()), len(row)) for label, row in rows))


def _ranks(scores: Tensor, label_ids: Tensor) -> Tensor:
    """Return the rank of each example's label, 0 for the best; ties count against it."""
    own = scores.gather(1, label_ids[:, None])
    return (scores >= own).sum(1) - 1


def _accuracy_among(scores: Tensor, label_ids: Tensor, labels: Sequence[int]) -> Count:
    rows = torch.isin(label_ids, torch.tensor(labels))
    own = torch.tensor([labels.index(place) for place in label_ids[rows].tolist()], dtype=torch.long)
    ranks = _ranks(scores[rows][:, labels], own)
    return Count(f"within {len(labels)}", int((ranks < 1).sum()), len(ranks))
