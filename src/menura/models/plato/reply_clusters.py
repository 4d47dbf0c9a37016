"""Clusters of replies: the first targets of recognition. Shape letters: N replies, K clusters, D width."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from menura.batches.collate import Ids
from menura.batches.plato_inputs import ContextLayout, PlatoInputs
from menura.models.layers.embeddings_and_heads import Embeddings
from menura.models.layers.length_bucketing import TOKENS_AT_ONCE, buckets
from menura.models.layers.transformer import Masked, Transformer

FITTED_ON = 4000  # replies, drawn at random
ROUNDS = 25  # of k-means
SMALLEST_NORM = 1e-6


@dataclass(frozen=True)
class ReplyReader:
    """A network as it was when training began: replies alone become the means of their hidden states."""

    embeddings: Embeddings
    body: Transformer
    layout: ContextLayout

    @classmethod
    def copied(cls, embeddings: Embeddings, body: Transformer, layout: ContextLayout) -> "ReplyReader":
        """Return a frozen copy."""
        copies = deepcopy((embeddings, body))
        for module in copies:
            module.eval().requires_grad_(requires_grad=False)
        return cls(*copies, layout)

    @torch.no_grad()
    def means(self, replies: Sequence[Ids]) -> Tensor:
        """Return (N, D) mean states of replies, the end token included."""
        means_by_place: dict[int, Tensor] = {}
        for places in buckets([len(reply) for reply in replies], TOKENS_AT_ONCE):
            device = self.embeddings.token.weight.device
            read = PlatoInputs.of([self.layout.reply(replies[place]) for place in places], device)
            seen = (read.mask[:, None, :] | torch.eye(read.mask.shape[1], dtype=torch.bool, device=device)).unsqueeze(1)
            states = self.body(self.embeddings(read), [Masked(seen)] * len(self.body.blocks))
            real = read.mask.unsqueeze(-1)
            means_by_place.update(zip(places, (states * real).sum(1) / real.sum(1), strict=True))
        return torch.stack([means_by_place[place] for place in range(len(replies))])


@dataclass(frozen=True)
class ReplyClusters:
    """K clusters of replies, by the direction of their states from the mean of all."""

    reader: ReplyReader
    centre: Tensor  # (D,)
    centroids: Tensor  # (K, D), of length 1

    @classmethod
    def fitted(cls, reader: ReplyReader, replies: Sequence[Ids], clusters: int, seed: int) -> "ReplyClusters":
        """Fit k-means to different replies, at most ``FITTED_ON`` of them, drawn by ``seed``."""
        generator = torch.Generator().manual_seed(seed)
        different = list(dict.fromkeys(replies))
        drawn = torch.randperm(len(different), generator=generator)[:FITTED_ON].tolist()
        means = reader.means([different[place] for place in drawn])
        centre = means.mean(0)
        return cls(reader, centre, k_means(_directions(means - centre), clusters, generator))

    def of(self, replies: Sequence[Ids]) -> Tensor:
        """Return (N,) the number of each reply's cluster."""
        return (_directions(self.reader.means(replies) - self.centre) @ self.centroids.T).argmax(-1)


def k_means(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Return (K, D) centroids of length 1 of points (N, D) of length 1: spherical k-means, begun by k-means++.

    Of fewer different points than ``clusters`` some centroids are equal.
    """
    centroids = _spread(points, clusters, generator)
    for _ in range(ROUNDS):
        nearest = (points @ centroids.T).argmax(-1)
        sums = torch.zeros_like(centroids).index_add(0, nearest, points)
        empty = sums.norm(dim=-1, keepdim=True) < SMALLEST_NORM
        centroids = torch.where(empty, centroids, _directions(sums))
    return centroids


def _spread(points: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Draw first centroids far from one another (k-means++, Arthur and Vassilvitskii, 2007)."""
    chosen = [int(torch.randint(len(points), (1,), generator=generator))]
    for _ in range(clusters - 1):
        distance = (1 - (points @ points[chosen].T).max(-1).values).clamp(min=0).cpu() + SMALLEST_NORM
        chosen.append(int(torch.multinomial(distance, 1, generator=generator)))
    return points[chosen]


def _directions(values: Tensor) -> Tensor:
    return nn.functional.normalize(values, dim=-1, eps=SMALLEST_NORM)
