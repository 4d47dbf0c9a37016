"""Models so small that their meta-gradients can be written down, and the tools that measure gradients."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from menura.adaptation.weights import trainable_parameters
from menura.batches.batch import Batch
from menura.batches.encode import EncodedDialogue, EncodedEpisode, EncodedExchange
from menura.models.dialogue_model import DialogueModel, Loss, mean_loss


class NoDecoding(DialogueModel[None]):
    """What the models made for these checks share: nothing is decoded with them."""

    def prefill(self, batch: Batch) -> None:
        raise NotImplementedError

    def step(self, state: None, last: Tensor) -> tuple[Tensor, None]:
        raise NotImplementedError

    def reorder_cache(self, state: None, rows: Tensor) -> None:
        raise NotImplementedError


class Quadratic(NoDecoding):
    """Half of curvature times squared distance to a centre; support and query have their own, told by the dialogue."""

    shapes: Mapping[str, tuple[float, float]] = {"support": (2.0, 1.0), "query": (3.0, -1.0)}

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.zeros((), dtype=torch.float64))

    def loss(self, batch: Batch) -> Loss:
        shapes = [self.shapes[exchange.dialogue_id] for exchange in batch.exchanges]
        nll = torch.stack([curvature / 2 * (self.theta - centre) ** 2 for curvature, centre in shapes])
        return mean_loss(nll, batch.reply_lengths)


class TanhNet(NoDecoding):
    """Two layers with tanh, float64; context ids are the inputs, the reply's first id is the output wanted."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        layers = (nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))
        self.network = nn.Sequential(*layers).double()

    def loss(self, batch: Batch) -> Loss:
        inputs = torch.tensor([e.context for e in batch.exchanges], dtype=torch.float64) / 10
        wanted = torch.tensor([e.reply[0] for e in batch.exchanges], dtype=torch.float64) / 10
        return mean_loss((self.network(inputs)[:, 0] - wanted) ** 2, batch.reply_lengths)


def exchange(dialogue_id: str, context: tuple[int, ...] = (1,), reply: tuple[int, ...] = (2,)) -> EncodedExchange:
    return EncodedExchange("p", dialogue_id, (), context, reply)


def points(dialogue_id: str, count: int, seed: int) -> EncodedDialogue:
    """Make inputs and outputs for the tanh net."""
    drawn = torch.randint(-20, 20, (count, 4), generator=torch.Generator().manual_seed(seed)).tolist()
    return tuple(exchange(dialogue_id, tuple(row[:3]), (row[3],)) for row in drawn)


QUADRATIC_EPISODE = EncodedEpisode("p", ((exchange("support"),),), ((exchange("query"),),))
NET_EPISODE = EncodedEpisode("p", (points("s", 7, 1),), (points("q", 5, 2),))


def gradient(model: nn.Module, value: Tensor) -> dict[str, Tensor]:
    """Return the gradient of a scalar by name."""
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    parameters = [p for p in model.parameters() if p.requires_grad]
    return dict(zip(names, torch.autograd.grad(value, parameters), strict=True))


def flat(tensors: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([value.reshape(-1) for value in tensors.values()])


def slope(model: DialogueModel[Any], value: Callable[[], Tensor], direction: Tensor, step: float) -> float:
    """Return the central difference of a value along a direction in all that trains."""
    parameters = list(trainable_parameters(model).values())
    pieces = direction.split([p.numel() for p in parameters])

    def at(distance: float) -> float:
        before = [p.detach().clone() for p in parameters]
        with torch.no_grad():
            for parameter, piece in zip(parameters, pieces, strict=True):
                parameter += distance * piece.view_as(parameter)
        found = float(value().detach())
        with torch.no_grad():
            for parameter, kept in zip(parameters, before, strict=True):
                parameter.copy_(kept)
        return found

    return (at(step) - at(-step)) / (2 * step)
