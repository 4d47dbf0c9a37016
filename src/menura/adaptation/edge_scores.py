"""Scores of private weights, by which a persona's mask is pruned (CMAML, Algorithm 1, and what else may find edges)."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from menura.adaptation.inner_step import InnerProblem, loss_and_gradients
from menura.batches.batch import Batch

PrunedBy = Literal["magnitude", "change", "saliency"]


def edge_scores(
    by: PrunedBy,
    problem: InnerProblem,
    start: Mapping[str, Tensor],
    copy: Mapping[str, Tensor],
    batches: Sequence[Batch],
    names: Sequence[str],
) -> Mapping[str, Tensor]:
    """Return the scores of the edges by name, in the shape of the weights; their magnitude counts.

    ``magnitude`` is the weight of the fine-tuned ``copy`` (the paper's), ``change`` its difference to ``start``, and
    ``saliency`` weight times gradient, summed over the batches: what the loss would change by without the edge, to
    first order (SNIP; Lee et al., 2019).
    """
    if by == "magnitude":
        return copy
    if by == "change":
        return {name: copy[name] - start[name].detach() for name in names}
    scores = {name: torch.zeros_like(copy[name]) for name in names}
    for batch in batches:
        leaves = {name: value.detach().requires_grad_() for name, value in copy.items()}
        _, gradients = loss_and_gradients(problem, leaves, batch, inner_frozen={}, exact=False)
        for name, gradient in zip(leaves, gradients, strict=True):
            if name in scores:
                scores[name] += gradient * copy[name]
    return scores
