"""Hidden states become losses at their labels, a few labels at a time where a gradient is to take little memory.

Shape letters: N labels, D width, V vocabulary.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from menura.batches.batch import SoftTargets

# Labels whose scores are in memory together: of 49,152 tokens 25 MB in float32, and as much again for each use. In
# float32 the output layer is reordered at every product, which takes as long as the product of 32 labels.
AT_ONCE, AT_ONCE_IN_HALF = 128, 32


@dataclass(frozen=True)
class LabelLosses:
    """The NLL of labels, and the cross-entropy to soft targets, from what a model's output layer makes of its states.

    ``few``: scores are computed again for the gradient, for some labels at a time, in place of being kept. That takes
    an output layer that does not learn, and serves one derivative, not two.
    """

    logits_of: Callable[[Tensor], Tensor]
    soft_targets: SoftTargets | None = None
    few: bool = False

    def of(self, hidden: Tensor, labels: Tensor, chunk: int) -> tuple[Tensor, Tensor]:
        """Return (N,) the NLL of each label, and () the summed cross-entropy to the soft targets of a chunk, if any."""
        if not (self.few and torch.is_grad_enabled()):
            return self._few(hidden, labels, self._target(chunk))
        nll, softened = zip(*self._in_turn(hidden, labels, chunk), strict=True)
        return torch.cat(nll), torch.stack(softened).sum()

    def _in_turn(self, hidden: Tensor, labels: Tensor, chunk: int) -> Iterator[tuple[Tensor, Tensor]]:
        target = self._target(chunk)
        at_once = AT_ONCE if hidden.dtype == torch.float32 else AT_ONCE_IN_HALF
        for start in range(0, len(labels), at_once):
            here = slice(start, start + at_once)
            soft = None if target is None else target[here]
            yield checkpoint(self._few, hidden[here], labels[here], soft, use_reentrant=False, preserve_rng_state=False)

    def _few(self, hidden: Tensor, labels: Tensor, soft: Tensor | None) -> tuple[Tensor, Tensor]:
        logits = self.logits_of(hidden)
        nll = nn.functional.cross_entropy(logits, labels, reduction="none")
        if soft is None:
            return nll, logits.new_zeros(())
        return nll, nn.functional.cross_entropy(logits, self._probabilities(soft), reduction="sum")

    def _target(self, chunk: int) -> Tensor | None:
        if self.soft_targets is None:
            return None
        return (self.soft_targets.probabilities or self.soft_targets.states)[chunk]

    @torch.no_grad()
    def _probabilities(self, soft: Tensor) -> Tensor:
        assert self.soft_targets is not None, "whose these are"
        return soft if self.soft_targets.probabilities else self.logits_of(soft).softmax(-1)
