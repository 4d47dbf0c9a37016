"""Model-agnostic meta-learning (Finn et al., 2017) with MAML++ (Antoniou et al., 2019), Meta-SGD, ANIL and Reptile."""

from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from menura.adaptation.finetune import AdaptsByInnerLoop
from menura.adaptation.inner_gradients import with_gradients
from menura.adaptation.inner_loop import InnerLoop, Order, iterate_inner_loop, run_inner_loop
from menura.adaptation.inner_step import attach_inner_lrs
from menura.adaptation.weights import selected_parameters
from menura.batches.batch import Batch
from menura.batches.encode import EncodedEpisode
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, Loss


@dataclass(frozen=True)
class Maml(AdaptsByInnerLoop):
    """Minimise the query loss after the inner loop on the support set.

    ``order`` exact differentiates through the inner loop, first treats its steps as constants; reptile (Nichol et al.,
    2018) has no query loss and moves towards the end of the inner loop on the whole episode. Shares are in 0..1:

    ``unadapted_loss_weight``: the share of the un-adapted query loss in the objective; without it the meta-weights may
    become useless before adaptation. ``exact_from``: the share of training after which first changes to exact (0 =
    ``order`` throughout). ``multi_step``: the share of training over which the query losses after all steps count, at
    first equally, in the end only the last (0 = only the last throughout). ``recompute``: exact steps keep their
    weights and not their graph. ``lr_mode`` layer learns an inner learning rate for each tensor, and for each of the
    first ``lr_steps`` steps. ``trainable``: parts of parameter names, comma-separated; the inner loop moves only
    parameters whose name contains one, the outer loop moves all (ANIL, Raghu et al., 2020).
    """

    name: ClassVar[str] = "maml"
    has_inner_loop: ClassVar[bool] = True

    inner: InnerLoop = field(default_factory=InnerLoop)
    order: Literal["exact", "first", "reptile"] = "first"
    unadapted_loss_weight: float = 0.0
    exact_from: float = 0.0
    multi_step: float = 0.0
    recompute: bool = False
    lr_mode: Literal["fixed", "layer"] = "fixed"
    lr_steps: int = 1
    trainable: str = ""

    def __post_init__(self) -> None:
        """Refuse shares outside 0..1; ``attach`` refuses settings that contradict one another."""
        for name in ("unadapted_loss_weight", "exact_from", "multi_step"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"method.{name}: {getattr(self, name)}, must lie between 0 and 1")
        if self.lr_steps < 1:
            raise ConfigError(f"method.lr_steps: {self.lr_steps}, must be at least 1")

    @property
    def second_order(self) -> bool:
        """Tell whether an objective may differentiate twice."""
        return self.order == "exact" or self.exact_from > 0

    def attach(self, model: DialogueModel[Any]) -> None:
        """Add learnable inner learning rates with ``lr_mode`` layer, else only check.

        ConfigError for settings without effect, or if ``trainable`` matches no parameter.
        """
        self._check()
        selected_parameters(model, self.trainable)
        if self.lr_mode == "layer":
            attach_inner_lrs(model, self.inner.lr, self.lr_steps)

    def _check(self) -> None:
        reptile = self.order == "reptile"
        for name, idle, why in (
            ("unadapted_loss_weight", reptile and self.unadapted_loss_weight, "order reptile has no query loss"),
            ("multi_step", reptile and self.multi_step, "order reptile has no query loss"),
            ("exact_from", reptile and self.exact_from, "order reptile never turns exact"),
            ("lr_mode", reptile and self.lr_mode != "fixed", "order reptile gives rates no gradient"),
            (
                "recompute",
                self.recompute and not self.second_order,
                f"order {self.order} has nothing to go back through",
            ),
            (
                "order",
                self.inner.distill_weight and self.second_order,
                "inner.distill_weight takes what the start says as a constant",
            ),
            ("lr_steps", self.lr_steps > 1 and self.lr_mode == "fixed", "rates are fixed"),
        ):
            if idle:
                raise ConfigError(f"method.{name}: {getattr(self, name)}, but {why}")

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the query loss at the adapted weights, as a function of all trained parameters.

        ``progress`` is the share of training done, 0 to 1. With ``order`` first and with ``recompute`` only ``total``
        has a gradient, and the query's graph is already freed.
        """
        query = model.batch(tuple(chain.from_iterable(episode.query)))
        if self.order == "reptile":
            return self._towards_the_end(model, episode, query)
        return self.mixed_with_unadapted(model, self._adapted(model, episode, query, progress), query)

    def mixed_with_unadapted(self, model: DialogueModel[Any], loss: Loss, query: Batch) -> Loss:
        """Return the adapted query's loss, its total mixed with that of the un-adapted query."""
        if not self.unadapted_loss_weight:
            return loss
        before = model.loss(query)
        total = (1 - self.unadapted_loss_weight) * loss.total + self.unadapted_loss_weight * before.total
        return Loss(total, loss.nll, loss.tokens, {**loss.parts, "un-adapted": before.total.detach()})

    def _adapted(self, model: DialogueModel[Any], episode: EncodedEpisode, query: Batch, progress: float) -> Loss:
        """Return the query loss after the last step; ``total`` is the sum over all steps, weighted by their shares."""
        start = selected_parameters(model, self.trainable)
        equal_weights = max(0.0, 1 - progress / self.multi_step) if self.multi_step else 0.0
        totals: list[Tensor] = []
        for done, steps, trajectory in iterate_inner_loop(
            model, start, episode.support, self.inner, order=self.order_at(progress)
        ):
            share = multi_step_loss_weight(done, steps, equal_weights)
            if share:
                loss = trajectory.query_loss(query)
                totals.append(share * loss.total)
        return Loss(torch.stack(totals).sum(), loss.nll, loss.tokens, loss.parts)

    def order_at(self, progress: float) -> Order:
        """Return how inner steps are differentiated at ``progress``, the share of training done, 0 to 1."""
        exact = progress >= self.exact_from if self.exact_from else self.order == "exact"
        if not exact:
            return "first"
        return "recompute" if self.recompute else "exact"

    def _towards_the_end(self, model: DialogueModel[Any], episode: EncodedEpisode, query: Batch) -> Loss:
        """Return ½‖θ − θ_k‖², whose gradient is Reptile's direction θ − θ_k; ``nll`` is the un-adapted query's."""
        start = selected_parameters(model, self.trainable)
        with torch.no_grad():
            before = model.loss(query)
            end = run_inner_loop(model, start, episode.support + episode.query, self.inner)
            back = [value - end[name] for name, value in start.items()]
            distance = torch.stack([(way**2).sum() for way in back]).sum() / 2
        return Loss(with_gradients(distance, list(start.values()), back), before.nll, before.tokens)


def multi_step_loss_weight(done: int, steps: int, equal_weights: float) -> float:
    """Return the share of the query loss after ``done`` of ``steps`` steps in the objective (MAML++, multi-step loss).

    ``equal_weights`` 1 weights all steps equally, 0 the last alone; the shares of steps 1 to ``steps`` add up to 1.
    """
    if done == steps:
        return 1 - equal_weights * (1 - 1 / steps) if steps else 1.0
    return equal_weights / steps if done else 0.0
