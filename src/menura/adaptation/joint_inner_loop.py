"""Inner loops of some tasks in lock-step: one copy of private weights for all tasks (CMAML, Eq. 4).

A task is identified by ``task_index``, its index in the outer step.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from menura.adaptation.inner_gradients import with_gradients
from menura.adaptation.inner_loop import InnerLoop, diverged
from menura.adaptation.inner_step import InnerProblem, Values, lrs_of_step, twice_differentiable
from menura.adaptation.masks import PersonaMask, with_zeros
from menura.adaptation.weights import PersonaWeights, loss_with
from menura.batches.batch import Batch
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.models.dialogue_model import DialogueModel, Loss

Reduce = Literal["mean", "sum"]


@runtime_checkable
class LearnsJointly(Protocol):
    """A method whose objective needs all tasks of an outer step at once, each with its persona mask."""

    @property
    def mask_dialogues(self) -> int:
        """The dialogues of a training persona from which its mask is found; 0 as many as a held-out persona has."""

    def adapted(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue]
    ) -> tuple[PersonaWeights, PersonaMask]:
        """Return a persona's weights and its mask."""

    def find_mask(self, model: DialogueModel[Any], support: Sequence[EncodedDialogue]) -> PersonaMask:
        """Return one persona's mask, found from the model's present weights; the model is not changed."""

    def joint_objective(
        self,
        model: DialogueModel[Any],
        episodes: Sequence[EncodedEpisode],
        masks: Sequence[PersonaMask],
        progress: float = 1.0,
    ) -> tuple[Tensor, list[Loss]]:
        """Return the objective, a sum, with its (meta-)gradient, and each task's query loss, detached.

        ``progress`` is the share of training done, 0 to 1.
        """

    def outer_step_masks(self, model: DialogueModel[Any], masks: Sequence[PersonaMask]) -> dict[str, Tensor]:
        """Return by name where the outer step of these tasks may move a weight; other weights may move everywhere."""


@dataclass
class JointTrajectory:
    """The state of the inner loops of some tasks: what ``InnerTrajectory`` is for one.

    A private weight moves by the ``reduce`` of the gradients of the tasks that keep it and have a mini-batch left; in
    each task it is 0 outside the mask. With ``mask_steps_only`` masks apply to steps alone, as in the public program:
    weights outside the mask still act. With ``exact`` weights are a function of ``start``, and all graphs are kept;
    without it steps are constants and no graph is. ``trainable_names`` are the weights that take steps.
    Memory: one copy of the shared weights per task, one of the private ones.
    """

    problem: InnerProblem
    start: PersonaWeights
    masks: Sequence[PersonaMask]
    exact: bool
    reduce: Reduce = "mean"
    mask_steps_only: bool = False
    trainable_names: frozenset[str] | None = None  # None: all
    _per_task_weights: list[dict[str, Tensor]] = field(default_factory=list)  # by task index, the shared weights
    _private: dict[str, Tensor] = field(default_factory=dict)
    _steps: int = 0

    def __post_init__(self) -> None:
        """Set all weights to ``start``."""
        private = set(self.masks[0].names)
        self._private = {name: value for name, value in self.start.items() if name in private}
        own = {name: value for name, value in self.start.items() if name not in private}
        self._per_task_weights = [own for _ in self.masks]

    def step(self, batches: Mapping[int, Batch]) -> dict[int, Tensor]:
        """Take a gradient step on the losses of the tasks that have a batch, by index; return the losses, detached."""
        losses = {}
        names = self._trainable
        # Gradients, and how many tasks keep a weight.
        summed: dict[str, Any] = {name: 0 for name in names if name in self._private}
        owners: dict[str, Any] = dict(summed)
        lrs = dict(zip(names, lrs_of_step(self.problem, self._steps, names), strict=True))
        for task_index, batch in batches.items():
            kept = self._kept(task_index)
            loss, gradient = self._gradients(task_index, batch, kept)
            losses[task_index] = loss.detach()
            with torch.set_grad_enabled(self.exact):
                own = self._per_task_weights[task_index]
                self._per_task_weights[task_index] = own | {n: own[n] - lrs[n] * gradient[n] for n in names if n in own}
                summed = {name: added + gradient[name] for name, added in summed.items()}
                owners = {name: number + kept.get(name, 1) for name, number in owners.items()}
        with torch.set_grad_enabled(self.exact):
            shares = owners if self.reduce == "mean" else {}
            for name, gradient in summed.items():
                step = lrs[name] * gradient / _at_least_1(shares.get(name, 1))
                self._private[name] = self._private[name] - step
        self._steps += 1
        return losses

    def weights(self, task_index: int) -> dict[str, Tensor]:
        """Return a task's weights, 0 outside its mask unless ``mask_steps_only``."""
        return self._masked(self._unmasked(task_index), self._kept(task_index))

    def query_loss(self, queries: Sequence[Batch]) -> tuple[Tensor, list[Loss]]:
        """Return the sum of the tasks' query losses with its gradient for ``start``, and each loss detached."""
        return self._query_loss_exact(queries) if self.exact else self._query_loss_first_order(queries)

    @property
    def _trainable(self) -> tuple[str, ...]:
        return tuple(name for name in self.start if self.trainable_names is None or name in self.trainable_names)

    def _gradients(self, task_index: int, batch: Batch, kept: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return a task's loss and the gradients of what moves; those of private weights are 0 outside its mask."""
        here = self._leaves(task_index)
        with torch.enable_grad(), twice_differentiable() if self.exact else nullcontext():
            loss = loss_with(self.problem.model, self._masked(here, kept), batch).total
            gradients = self._differentiated(loss, [here[name] for name in self._trainable])
        gradient = dict(zip(self._trainable, gradients, strict=True))
        # Weights that are not masked have a gradient outside the task's mask, too.
        owned = {name: there for name, there in kept.items() if name in gradient}
        return loss, with_zeros(gradient, owned) if self.mask_steps_only else gradient

    def _query_loss_exact(self, queries: Sequence[Batch]) -> tuple[Tensor, list[Loss]]:
        with torch.enable_grad(), twice_differentiable():
            losses = [loss_with(self.problem.model, self.weights(p), query) for p, query in enumerate(queries)]
            return torch.stack([loss.total for loss in losses]).sum(), [_bare(loss) for loss in losses]

    def _query_loss_first_order(self, queries: Sequence[Batch]) -> tuple[Tensor, list[Loss]]:
        """Add up each task's gradient as soon as its loss is computed: no graph is kept, and no copy per task."""
        losses, added = [], {name: torch.zeros_like(value) for name, value in self.start.items()}
        for task_index, query in enumerate(queries):
            here = self._leaves(task_index)
            with torch.enable_grad():
                loss = loss_with(self.problem.model, self._masked(here, self._kept(task_index)), query)
                for total, gradient in zip(
                    added.values(), self._differentiated(loss.total, list(here.values())), strict=True
                ):
                    total += gradient
            losses.append(_bare(loss))
        value = torch.stack([loss.total for loss in losses]).sum()
        return with_gradients(value, list(self.start.values()), list(added.values())), losses

    def _differentiated(self, loss: Tensor, here: Sequence[Tensor]) -> Values:
        return torch.autograd.grad(loss, here, create_graph=self.exact, materialize_grads=True)

    def _unmasked(self, task_index: int) -> dict[str, Tensor]:
        """Return a task's weights before masking, in the order of ``start``."""
        return {
            name: self._per_task_weights[task_index].get(name, self._private.get(name, value))
            for name, value in self.start.items()
        }

    def _leaves(self, task_index: int) -> dict[str, Tensor]:
        here = self._unmasked(task_index)
        return here if self.exact else {name: value.detach().requires_grad_() for name, value in here.items()}

    def _kept(self, task_index: int) -> dict[str, Tensor]:
        """Unpack a task's mask to tensors, for as long as they are used."""
        return self.masks[task_index].kept(next(iter(self.start.values())).device)

    def _masked(self, weights: PersonaWeights, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
        owned = {name: there for name, there in kept.items() if name in weights}
        return dict(weights) if self.mask_steps_only else with_zeros(weights, owned)


def iterate_joint_loop(
    trajectory: JointTrajectory, supports: Sequence[Sequence[Batch]], inner: InnerLoop
) -> Iterator[tuple[int, int, Tensor]]:
    """Take steps until no task has a mini-batch left; each has ``inner.epochs`` times its own, one per step.

    Yields steps done, steps in all, and the mean loss of the tasks of a step. Raises NumericalError at a loss that is
    not finite.
    """
    lengths = [inner.epochs * len(batches) for batches in supports]
    steps = max(lengths, default=0)
    for step in range(steps):
        taking = {p: batches[step % len(batches)] for p, batches in enumerate(supports) if step < lengths[p]}
        losses = trajectory.step(taking)
        for task_index, loss in losses.items():
            if not torch.isfinite(loss):
                raise diverged(step, taking[task_index], inner)
        yield step + 1, steps, torch.stack(list(losses.values())).mean()


def _at_least_1(number: Tensor | int) -> Tensor | int:
    return number.clamp(min=1) if isinstance(number, Tensor) else number


def _bare(loss: Loss) -> Loss:
    parts = {name: part.detach() for name, part in loss.parts.items()}
    return Loss(loss.total.detach(), loss.nll.detach(), loss.tokens, parts)
