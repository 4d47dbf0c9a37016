"""The gradient of a whole task, inner steps and query, as one compiled graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from time import monotonic
from typing import Any

import torch
from torch import Tensor, nn

from menura.adaptation.compile_graph import LEAVE_OUT, Graph, check_compiler, compiled
from menura.adaptation.inner_gradients import with_gradients
from menura.adaptation.inner_loop import TRAJECTORIES, Order, diverged, mini_batches
from menura.adaptation.inner_step import InnerProblem
from menura.adaptation.maml import Maml
from menura.adaptation.weights import selected_parameters, trainable_parameters
from menura.batches.encode import EncodedEpisode
from menura.batches.padded import PaddedBatch, PaddedChunk
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, HasPaddedForward, Loss

KEPT_GRAPHS = 8  # the least recently used one is dropped
UNADAPTED_LOSS = "un-adapted"  # the part of a loss that is the un-adapted query's

Objective = Callable[[DialogueModel[Any], EncodedEpisode, float], Loss]
GraphKey = tuple[Order, tuple[int, ...], int]  # the order, the chunks of each support batch, the chunks of the query


@dataclass
class CompiledMaml:
    """Maml's objective, compiled: the same loss and gradient, up to rounding.

    The graph is traced from what ``Maml`` computes, so that it contains both derivatives. Ids and weights are its
    inputs. One graph serves all numbers of rows, tokens and labels; each number of inner steps has its own.
    """

    method: Maml
    model: DialogueModel[Any]
    say: Callable[[str], None]
    _graphs: list[tuple[GraphKey, Graph]] = field(default_factory=list)  # the most recently used last

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the query loss at the adapted weights; only ``total`` has a gradient, computed already.

        ``progress`` is the share of training done, 0 to 1.
        """
        assert model is self.model, "another model's graph"
        assert isinstance(model, HasPaddedForward), "compiled_objective was to refuse it"
        inner, order = self.method.inner, self.method.order_at(progress)
        query = model.padded(model.batch(tuple(chain.from_iterable(episode.query))))
        wanted = inner.epochs and episode.support
        support = (
            [model.padded(batch) for batch in mini_batches(model, episode.support, inner.batch_size)] if wanted else []
        )
        weights = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        given = [value.detach() for value in weights.values()]
        varying = [tensor for batch in (query, *support) for part in batch.parts for tensor in part]
        task = _Task(self.method, model, order, tuple(weights), query, support)
        total, nll, losses, before, *gradients = self._graph(task, given, varying)([*given, *varying])
        for step, loss in enumerate(losses):
            if not torch.isfinite(loss):
                raise diverged(step, support[step % len(support)], inner)
        parts = {UNADAPTED_LOSS: before} if self.method.unadapted_loss_weight else {}
        total = with_gradients(total, list(trainable_parameters(model).values()), gradients)
        return Loss(total, query.by_exchange(nll), query.reply_lengths, parts)

    def _graph(self, task: "_Task", given: Sequence[Tensor], varying: Sequence[Tensor]) -> Graph:
        for index, (key, graph) in enumerate(self._graphs):
            if key == task.key and graph.fits([*given, *varying]):
                self._graphs.append(self._graphs.pop(index))
                return graph
        order, passes, _ = task.key
        steps = len(passes) * self.method.inner.epochs
        through = (
            f"{'exact' if order == 'exact' else 'first-order'} gradient through {steps} inner step{'s' * (steps != 1)}"
        )
        self.say(f"compiling the {through}: a minute or more, once for each number of steps")
        began = monotonic()
        graph = compiled(task, given, varying)
        self.say(f"compiled in {monotonic() - began:.0f} s")
        self._graphs = [*self._graphs, (task.key, graph)][-KEPT_GRAPHS:]
        return graph


def compiled_objective(method: Any, model: DialogueModel[Any], say: Callable[[str], None]) -> Objective:
    """Return a method's objective, compiled when it is first called.

    Raises ConfigError, with what to leave out, for a method, a model or a machine that cannot.
    """
    if type(method) is not Maml:
        raise ConfigError("outer.compile: only the method maml has a gradient to compile", hint=LEAVE_OUT)
    for what, found in (
        (f"method.order={method.order}", method.order == "reptile"),
        (f"method.multi_step={method.multi_step}", method.multi_step),
        (f"method.recompute={method.recompute}", method.recompute),
        (f"method.lr_mode={method.lr_mode}", method.lr_mode != "fixed"),
        (f"method.inner.distill_weight={method.inner.distill_weight}", method.inner.distill_weight),
    ):
        if found:
            raise ConfigError(f"outer.compile: {what} is not compiled", hint="leave one of the two out")
    if not isinstance(model, HasPaddedForward):
        raise ConfigError(f"outer.compile: {type(model).__name__} cannot be compiled, causal_lm can", hint=LEAVE_OUT)
    model.check_padded()
    check_compiler(model.device)
    return CompiledMaml(method, model, say).objective


@dataclass(frozen=True)
class _Task:
    """One task as a function of all its tensors: the model's, then those of query and support batches."""

    method: Maml
    model: DialogueModel[Any]
    order: Order
    names: tuple[str, ...]
    query: PaddedBatch
    support: Sequence[PaddedBatch]

    @property
    def key(self) -> GraphKey:
        """The key of this task's graph."""
        return self.order, tuple(len(batch.parts) for batch in self.support), len(self.query.parts)

    def __call__(self, given: Sequence[Tensor]) -> list[Tensor]:
        """Return total, (N,) NLL per label, (steps,) support losses, the un-adapted loss or 0, and the gradients."""
        train = trainable_parameters(self.model)
        weights = {name: value.detach() for name, value in zip(self.names, given, strict=False)}
        leaves = [weights[name].requires_grad_() for name in train]
        query, *support = self._batches(given[len(weights) :])
        named_weights = {f"model.{name}": value for name, value in weights.items()}
        loss, losses = torch.func.functional_call(
            _FunctionalCall(self.model, self._losses), named_weights, (query, support)
        )
        gradients = torch.autograd.grad(loss.total, leaves, materialize_grads=True)
        before = loss.parts.get(UNADAPTED_LOSS, torch.zeros_like(loss.total))
        stacked = torch.stack(losses) if losses else loss.total.new_zeros(0)
        return [value.detach() for value in (loss.total, loss.nll, stacked, before, *gradients)]

    def _losses(self, query: PaddedBatch, support: Sequence[PaddedBatch]) -> tuple[Loss, list[Tensor]]:
        inner = self.method.inner
        trajectory = TRAJECTORIES[self.order](
            InnerProblem(self.model, inner.lr, inner.optimizer == "adam"),
            selected_parameters(self.model, self.method.trainable),
        )
        losses = [trajectory.step(batch) for _ in range(inner.epochs) for batch in support]
        return self.method.mixed_with_unadapted(self.model, trajectory.query_loss(query), query), losses

    def _batches(self, tensors: Sequence[Tensor]) -> list[PaddedBatch]:
        """Return query and support with these tensors in place of their own."""
        rest = iter(tensors)
        made = []
        for batch in (self.query, *self.support):
            parts = tuple(PaddedChunk(*(next(rest) for _ in part)) for part in batch.parts)
            made.append(PaddedBatch(batch.exchanges, batch.device, parts, batch.label_exchange))
        return made


class _FunctionalCall(nn.Module):
    """A computation that finds its model's weights where ``functional_call`` puts them."""

    def __init__(self, model: DialogueModel[Any], compute: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self._compute = compute

    def forward(self, *given: Any) -> Any:
        """Compute."""
        return self._compute(*given)
