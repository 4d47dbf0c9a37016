"""One meta-gradient, as the field's libraries compute it: T tasks, one inner step each, mean of the query losses."""

import copy
import importlib
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from transformers import GPT2LMHeadModel

from benchmarks.material import flat
from benchmarks.peers.padded import SequenceLayout, adapting, gradients, loss, padded
from menura.adaptation.inner_loop import Order
from menura.batches.encode import EncodedEpisode
from menura.errors import ConfigError

LEARN2LEARN = Path(__file__).parents[2] / "build" / "peers" / "learn2learn-0.2.0" / "learn2learn"

Engine = Callable[[GPT2LMHeadModel, Sequence[EncodedEpisode], float, Order], Mapping[str, Tensor]]


def learn2learn(
    network: GPT2LMHeadModel, episodes: Sequence[EncodedEpisode], rate: float, order: Order
) -> Mapping[str, Tensor]:
    """Clone, adapt, differentiate (learn2learn 0.2.0, ``algorithms/maml.py`` as it is)."""
    maml = load_learn2learn()(network, lr=rate, first_order=order == "first", allow_nograd=True)
    network.zero_grad(set_to_none=True)
    for episode in episodes:
        learner = maml.clone()
        learner.adapt(loss(learner, padded(episode.support)))
        (loss(learner, padded(episode.query)) / len(episodes)).backward()
    return gradients(network)


def load_learn2learn() -> Callable[..., GPT2LMHeadModel]:
    """Import its pure-Python part alone: the package itself asks for compiled modules that do not build."""
    if not LEARN2LEARN.exists():
        raise ConfigError("learn2learn's source is not in build/peers", hint="run make bench, which fetches it")
    for name, folder in (("learn2learn", LEARN2LEARN), ("learn2learn.algorithms", LEARN2LEARN / "algorithms")):
        package = types.ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules.setdefault(name, package)
    return importlib.import_module("learn2learn.algorithms.maml").MAML  # type: ignore[no-any-return]


def higher(
    network: GPT2LMHeadModel, episodes: Sequence[EncodedEpisode], rate: float, order: Order
) -> Mapping[str, Tensor]:
    """Patch the module, unroll its optimiser (higher 0.2.1).

    First order there means stepping without tracking and taking the gradient at where that ends.
    """
    library = importlib.import_module("higher")
    exact = order == "exact"
    network.zero_grad(set_to_none=True)
    optimizer = torch.optim.SGD(adapting(network).values(), lr=rate)
    for episode in episodes:
        with library.innerloop_ctx(network, optimizer, copy_initial_weights=False, track_higher_grads=exact) as (
            patched,
            stepper,
        ):
            stepper.step(loss(patched, padded(episode.support)))
            query = loss(patched, padded(episode.query)) / len(episodes)
            if exact:
                query.backward()
            else:
                _gather(network, torch.autograd.grad(query, [p for p in patched.parameters() if p.requires_grad]))
    return gradients(network)


def paml(
    network: GPT2LMHeadModel, episodes: Sequence[EncodedEpisode], rate: float, order: Order
) -> Mapping[str, Tensor]:
    """Step the model itself, take the query's gradient there, put a deep copy of the weights back; first order only."""
    assert order == "first"
    own = list(adapting(network).values())
    summed = [torch.zeros_like(p) for p in own]
    begun = copy.deepcopy(network.state_dict())
    for episode in episodes:
        optimizer = torch.optim.SGD(own, lr=rate)
        optimizer.zero_grad()
        loss(network, padded(episode.support)).backward()
        optimizer.step()
        optimizer.zero_grad()
        loss(network, padded(episode.query)).backward()
        for total, parameter in zip(summed, own, strict=True):
            assert parameter.grad is not None
            total += parameter.grad / len(episodes)
        network.load_state_dict(begun)
    optimizer.zero_grad()
    _gather(network, summed)
    return gradients(network)


def functional(
    network: GPT2LMHeadModel, episodes: Sequence[EncodedEpisode], rate: float, order: Order
) -> Mapping[str, Tensor]:
    """Transform the task's loss by ``torch.func.grad``, task by task."""
    start = {name: p.detach() for name, p in adapting(network).items()}
    meta_gradient = torch.func.grad(partial(_task_loss, network, rate, order))
    total: dict[str, Tensor] = {}
    for episode in episodes:
        for name, value in meta_gradient(start, padded(episode.support), padded(episode.query)).items():
            total[name] = total.get(name, 0) + value / len(episodes)
    return total


def vmapped(
    network: GPT2LMHeadModel, episodes: Sequence[EncodedEpisode], rate: float, order: Order
) -> Mapping[str, Tensor]:
    """Run all tasks in parallel with ``torch.func.vmap``, padded to one shape."""
    start = {name: p.detach() for name, p in adapting(network).items()}
    longest = max(len(e.ids) for episode in episodes for e in flat(episode.support + episode.query))
    supports = [padded(episode.support, longest) for episode in episodes]
    queries = [padded(episode.query, longest) for episode in episodes]
    meta_gradient = torch.func.grad(partial(_task_loss, network, rate, order))

    def one(support_ids: Tensor, support_labels: Tensor, query_ids: Tensor, query_labels: Tensor) -> dict[str, Tensor]:
        # No mask: padding is on the right, which causal attention never sees, and vmap cannot branch.
        support, query = (
            SequenceLayout(support_ids, None, support_labels),
            SequenceLayout(query_ids, None, query_labels),
        )
        found: dict[str, Tensor] = meta_gradient(start, support, query)
        return found

    stacked = [
        torch.stack([getattr(r, part) for r in rows]) for rows in (supports, queries) for part in ("ids", "labels")
    ]
    return {name: value.mean(0) for name, value in torch.func.vmap(one)(*stacked).items()}


def reference(
    network: GPT2LMHeadModel, episodes: Sequence[EncodedEpisode], rate: float, order: Order
) -> Mapping[str, Tensor]:
    """Return what all must agree with: plain autograd in float64, one padded row at a time the same as many."""
    exact = copy.deepcopy(network).double()
    start = adapting(exact)
    total: dict[str, Tensor] = {}
    for episode in episodes:
        meta = _task_loss(exact, rate, order, start, padded(episode.support), padded(episode.query))
        for name, value in zip(start, torch.autograd.grad(meta, list(start.values())), strict=True):
            total[name] = total.get(name, torch.zeros_like(value)) + value / len(episodes)
    return total


PEERS: Mapping[str, Engine] = {
    "learn2learn": learn2learn,
    "higher": higher,
    "torch.func, task by task": functional,
    "torch.func.vmap over tasks": vmapped,
    "PAML-style loop": paml,
}


def _task_loss(
    network: GPT2LMHeadModel,
    rate: float,
    order: Order,
    start: Mapping[str, Tensor],
    support: SequenceLayout,
    query: SequenceLayout,
) -> Tensor:
    exact = order == "exact"
    support_loss, weights = _loss_at(network, start, support), dict(start)
    step = torch.autograd.grad(support_loss, list(start.values()), create_graph=exact)
    for (name, value), gradient in zip(start.items(), step, strict=True):
        weights[name] = value - rate * gradient
    return _loss_at(network, weights, query)


def _loss_at(network: GPT2LMHeadModel, weights: Mapping[str, Tensor], rows: SequenceLayout) -> Tensor:
    inputs = {"input_ids": rows.ids, "attention_mask": rows.mask, "labels": rows.labels, "use_cache": False}
    found: Tensor = torch.func.functional_call(network, dict(weights), (), inputs).loss
    return found


def _gather(network: GPT2LMHeadModel, found: Sequence[Tensor]) -> None:
    for parameter, gradient in zip(adapting(network).values(), found, strict=True):
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
