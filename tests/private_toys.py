"""Small models with a private part, whose structures and joint steps can be worked out by hand."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from toys import NoDecoding, exchange, points

from menura.adaptation.masks import LayerMask, PersonaMask, full_mask
from menura.batches.batch import Batch
from menura.batches.encode import EncodedEpisode
from menura.models.dialogue_model import Loss, mean_loss

SIZES = (3, 5, 6, 4, 2)


class PrivateNet(NoDecoding):
    """A shared map and a private perceptron side by side, joined by a gate; ids in, a number out, in float64."""

    def __init__(self, sizes: Sequence[int] = SIZES, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.shared = nn.Linear(sizes[0], sizes[-1])
        self.private = nn.ModuleList(nn.Linear(below, above) for below, above in pairwise(sizes))
        self.gate = nn.Linear(2 * sizes[-1], sizes[-1])
        self.double()

    def private_layers(self) -> tuple[tuple[str, str], ...]:
        return tuple((f"private.{n}.weight", f"private.{n}.bias") for n in range(len(self.private)))

    def loss(self, batch: Batch) -> Loss:
        width = self.shared.in_features
        inputs = torch.tensor([e.context[:width] for e in batch.exchanges], dtype=torch.float64) / 10
        wanted = torch.tensor([e.reply[0] for e in batch.exchanges], dtype=torch.float64) / 10
        shared = self.shared(inputs).tanh()
        private = through([(layer.weight, layer.bias) for layer in self.private], inputs)
        gate = self.gate(torch.cat([shared, private], -1)).tanh()
        return mean_loss(((gate * shared + (1 - gate) * private).sum(-1) - wanted) ** 2, batch.reply_lengths)


def through(layers: Sequence[tuple[Tensor, Tensor]], given: Tensor) -> Tensor:
    """Run a perceptron: ReLU behind each layer but the last, which ends in tanh."""
    for weight, bias in layers[:-1]:
        given = nn.functional.linear(given, weight, bias).relu()
    return nn.functional.linear(given, *layers[-1]).tanh()


class ThreeEdges(NoDecoding):
    """Half the squared distance of three private weights to a target that the dialogue names (spec 17, joint step)."""

    targets: Mapping[str, tuple[float, float, float]] = {
        "train-1": (0, 0, 0),
        "train-2": (0, 1, 1),
        "valid-1": (0.5, 1, 0),
        "valid-2": (0, 0, 2),
    }

    def __init__(self) -> None:
        super().__init__()
        self.private = nn.Linear(3, 1).double()
        with torch.no_grad():
            self.private.weight.copy_(torch.tensor([[1.0, 2.0, 3.0]]))

    def private_layers(self) -> tuple[tuple[str, str], ...]:
        return (("private.weight", "private.bias"),)

    def loss(self, batch: Batch) -> Loss:
        targets = torch.tensor([self.targets[e.dialogue_id] for e in batch.exchanges], dtype=torch.float64)
        return mean_loss(((self.private.weight - targets) ** 2).sum(1) / 2, batch.reply_lengths)


def of_edges(shape: PersonaMask, *edges: Sequence[Sequence[int]] | None) -> PersonaMask:
    """Return a structure with these edges by layer; None is a whole layer."""
    layers: list[LayerMask] = []
    for layer, kept in zip(shape.layers, edges, strict=True):
        layers.append(layer if kept is None else layer.with_edges(torch.tensor(kept, dtype=torch.bool)))
    return PersonaMask(tuple(layers))


def any_structure(model: PrivateNet, seed: int, share: float = 0.6) -> PersonaMask:
    """Draw a structure: edges of the inner layers at random, whatever leads to a dead node cut off."""
    stream, alive, layers = torch.Generator().manual_seed(seed), None, []
    shape = full_mask(model).layers
    for layer in shape[::-1]:
        if layer in (shape[0], shape[-1]):
            layers.append(layer)
            alive = None
            continue
        kept = torch.rand(layer.out_units, layer.in_units, generator=stream) < share
        kept = kept if alive is None else kept & alive[:, None]
        alive = kept.any(0)
        layers.append(layer.with_edges(kept))
    return PersonaMask(tuple(layers[::-1]))


def one_point(name: str) -> EncodedEpisode:
    """Return the episode of a task of three edges, by its number."""
    return EncodedEpisode(name, ((exchange(f"train-{name}"),),), ((exchange(f"valid-{name}"),),))


# Supports of 7, 3 and 5 exchanges: with mini-batches of two, tasks end at different steps.
EPISODES = [
    EncodedEpisode(f"p{n}", (points(f"s{n}", size, 2 * n + 1),), (points(f"q{n}", 4, 2 * n + 2),))
    for n, size in enumerate((7, 3, 5))
]
