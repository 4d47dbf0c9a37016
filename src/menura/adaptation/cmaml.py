"""Customised MAML: a mask for each persona, and private weights trained jointly (CMAML; Song et al., 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from menura.adaptation.edge_scores import PrunedBy, edge_scores
from menura.adaptation.inner_loop import InnerLoop, StepCallback, mini_batches
from menura.adaptation.inner_step import InnerProblem
from menura.adaptation.joint_inner_loop import JointTrajectory, Reduce, iterate_joint_loop
from menura.adaptation.l1_penalty import L1Step, Penalty, l1_finetuned_copy
from menura.adaptation.masks import PersonaMask, Threshold, full_mask, pruned, zero_dead_edges
from menura.adaptation.weights import PersonaWeights, adaptable_parameters, filter_by_name, selected_parameters
from menura.batches.batch import Batch
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, HasPrivatePart, Loss


@dataclass(frozen=True)
class Cmaml:
    """Minimise the query losses of some tasks jointly, each with the private weights in its persona's mask.

    A mask is found on a copy: ``prune_epochs`` passes over the support with an L1 penalty of weight ``l1_weight`` on
    private weights (``l1_step`` is its update rule), by ``prune_optimizer`` at ``prune_lr`` (0: the inner loop's). Then
    the weights of the inner private layers are pruned whose score is not above ``gamma`` (``threshold`` absolute, or
    scaled: in bounds of the initialisation) or not in the largest share ``keep_share`` of a layer (quantile). The score
    (``prune_by``) is the weight's magnitude as in the paper, its change on the copy, or its saliency: weight times
    gradient of the support. Training personas' masks are found from ``mask_dialogues`` dialogues (0: as many as
    ``outer.shots``).

    The persona is then adapted from the meta-weights. ``private_reduce`` combines the tasks' gradients of a private
    weight that they share (Eq. 4 prints the sum, whose step is larger by up to the number of tasks). ``private_adam``
    masked: the outer step changes neither a private weight nor its moments if no task of the step keeps it (Eq. 5).
    With ``order`` first inner steps are constants; exact differentiates through all of them, also across tasks through
    the weights they share.

    ``preset`` repo follows the public program: nodes of all layers are pruned, masks apply to steps and not to weights,
    nothing is shared between tasks, and the persona is adapted from the pruned copy. Without a private part this would
    be MAML; ``attach`` refuses such a model. ``trainable``: parts of parameter names, comma-separated; the inner loop
    moves only parameters whose name contains one ("" = all, as in the paper), and a persona holds nothing else.
    """

    name: ClassVar[str] = "cmaml"
    has_inner_loop: ClassVar[bool] = True

    inner: InnerLoop = field(default_factory=InnerLoop)
    order: Literal["exact", "first"] = "first"
    threshold: Literal["absolute", "scaled", "quantile"] = "absolute"
    gamma: float = 0.05
    keep_share: float = 0.5
    l1_weight: float = 0.001
    l1_step: L1Step = "subgradient"
    prune_epochs: int = 5
    prune_by: PrunedBy = "magnitude"
    prune_optimizer: Literal["sgd", "adam"] = "sgd"
    prune_lr: float = 0.0
    mask_dialogues: int = 0
    private_reduce: Reduce = "mean"
    private_adam: Literal["masked", "plain"] = "masked"
    preset: Literal["paper", "repo"] = "paper"
    trainable: str = ""

    def __post_init__(self) -> None:
        """Refuse invalid numbers; ``attach`` refuses settings that contradict one another."""
        if self.order not in ("exact", "first"):
            raise ConfigError(f"method.order: {self.order}, must be exact or first")
        for name in ("gamma", "l1_weight", "prune_epochs", "prune_lr", "mask_dialogues"):
            if getattr(self, name) < 0:
                raise ConfigError(f"method.{name}: {getattr(self, name)}, must not be negative")
        if not 0 < self.keep_share <= 1:
            raise ConfigError(f"method.keep_share: {self.keep_share}, must lie above 0 and at most at 1")

    @property
    def second_order(self) -> bool:
        """Tell whether an objective may differentiate twice."""
        return self.order == "exact"

    def attach(self, model: DialogueModel[Any]) -> None:
        """Add nothing, check only: ConfigError for settings without effect or a model that does not fit."""
        usual = {each.name: each.default for each in fields(self)}
        for name, idle, why in (
            ("gamma", self.threshold == "quantile", "threshold quantile reads keep_share"),
            ("keep_share", self.threshold != "quantile", f"threshold {self.threshold} looks at gamma"),
            (
                "l1_step",
                not (self.l1_weight and self.prune_epochs),
                "without l1_weight or prune_epochs there is no penalty",
            ),
            ("private_reduce", self.preset == "repo", "preset repo shares no step between tasks"),
        ):
            if idle and getattr(self, name) != usual[name]:
                raise ConfigError(f"method.{name}: {getattr(self, name)}, but {why}")
        if self.inner.optimizer != "sgd":
            raise ConfigError(f"method.inner.optimizer: {self.inner.optimizer}, but steps that are shared are SGD's")
        if self.inner.distill_weight:
            raise ConfigError(
                f"method.inner.distill_weight: {self.inner.distill_weight}, but cmaml's steps look at words alone"
            )
        _check_private(model)
        if left_out := sorted(set(full_mask(model).names) - selected_parameters(model, self.trainable).keys()):
            said = f"method.trainable: {self.trainable} leaves out {left_out[0]}; a mask is of all private weights"
            raise ConfigError(said, hint=f"--set method.trainable={','.join(full_mask(model).names)}")

    def for_persona(self, model: DialogueModel[Any]) -> Self:
        """Return the method as it adapts one persona: where ``trainable`` is empty, it names the private weights alone.

        A persona is then its mask and the weights in it. With ``trainable`` set, the method is returned as it is.
        """
        return self if self.trainable else replace(self, trainable=",".join(full_mask(model).names))

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the query loss of one task alone, with a mask found from the present weights.

        ``progress`` (share of training done, 0 to 1) has no effect: CMAML has no schedule.
        """
        mask = self.find_mask(model, episode.support)
        total, (loss,) = self.joint_objective(model, [episode], [mask], progress)
        return Loss(total, loss.nll, loss.tokens, loss.parts)

    def joint_objective(
        self,
        model: DialogueModel[Any],
        episodes: Sequence[EncodedEpisode],
        masks: Sequence[PersonaMask],
        progress: float = 1.0,
    ) -> tuple[Tensor, list[Loss]]:
        """Return the sum of the tasks' query losses with its meta-gradient, and each loss detached.

        ``progress`` (share of training done, 0 to 1) has no effect.
        """
        if self.preset == "repo":  # one task at a time: nothing is shared between tasks
            alone = [self._jointly(model, [e], [s]) for e, s in zip(episodes, masks, strict=True)]
            return torch.stack([total for total, _ in alone]).sum(), [loss for _, (loss,) in alone]
        return self._jointly(model, episodes, masks)

    def outer_step_masks(self, model: DialogueModel[Any], masks: Sequence[PersonaMask]) -> dict[str, Tensor]:
        """Return by name where private weights are in one of the masks; all other weights may move everywhere."""
        if self.private_adam == "plain" or self.preset == "repo":
            return {}
        found = [mask.kept(model.device) for mask in masks]
        limited = [name for name in found[0] if all(name in kept for kept in found)]
        return {name: torch.stack([kept[name] for kept in found]).any(0) for name in limited}

    def find_mask(self, model: DialogueModel[Any], support: Sequence[EncodedDialogue]) -> PersonaMask:
        """Return the mask of a persona, found from its support set and the present weights (Algorithm 1)."""
        template = full_mask(model)
        if not template.layers or not any(support):
            return template
        with torch.enable_grad():
            return self._mask_and_copy(model, support, template)[0]

    def adapted(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], on_step: StepCallback | None = None
    ) -> tuple[PersonaWeights, PersonaMask]:
        """Return the persona's weights, 0 outside its mask, and the mask.

        ``on_step`` sees the steps of the adaptation, not those of the pruned copy.
        """
        start, mask = selected_parameters(model, self.trainable), full_mask(model)
        initial: PersonaWeights = start
        with torch.enable_grad():
            if mask.layers and any(support):
                mask, copy = self._mask_and_copy(model, support, mask)
                initial = filter_by_name(copy, self.trainable) if self.preset == "repo" else start
            trajectory = self._trajectory(model, initial, [mask], exact=False)
            for done, steps, loss in iterate_joint_loop(trajectory, [self._batches(model, support)], self.inner):
                if on_step:
                    on_step(done, steps, float(loss))
        weights = {name: value.detach() for name, value in trajectory.weights(0).items()}
        weights = weights if self.preset == "repo" else zero_dead_edges(weights, mask)
        # Tensors that took no step are still the model's own, which the next persona would share.
        own = {value.data_ptr() for value in start.values()}
        return {n: value.clone() if value.data_ptr() in own else value for n, value in weights.items()}, mask

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], on_step: StepCallback | None = None
    ) -> PersonaWeights:
        """Return the weights of ``adapted``."""
        return self.adapted(model, support, on_step)[0]

    def _jointly(
        self, model: DialogueModel[Any], episodes: Sequence[EncodedEpisode], masks: Sequence[PersonaMask]
    ) -> tuple[Tensor, list[Loss]]:
        trajectory = self._trajectory(model, adaptable_parameters(model), masks, exact=self.order == "exact")
        for _ in iterate_joint_loop(
            trajectory, [self._batches(model, episode.support) for episode in episodes], self.inner
        ):
            pass
        return trajectory.query_loss([model.batch(tuple(chain.from_iterable(episode.query))) for episode in episodes])

    def _trajectory(
        self, model: DialogueModel[Any], start: PersonaWeights, masks: Sequence[PersonaMask], *, exact: bool
    ) -> JointTrajectory:
        problem, mask_steps_only = InnerProblem(model, self.inner.lr, adam=False), self.preset == "repo"
        trainable_names = frozenset(filter_by_name(start, self.trainable))
        return JointTrajectory(problem, start, masks, exact, self.private_reduce, mask_steps_only, trainable_names)

    def _batches(self, model: DialogueModel[Any], support: Sequence[EncodedDialogue]) -> list[Batch]:
        return mini_batches(model, support, self.inner.batch_size) if self.inner.epochs and any(support) else []

    def _mask_and_copy(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], template: PersonaMask
    ) -> tuple[PersonaMask, dict[str, Tensor]]:
        """Return a persona's mask, and the fine-tuned copy that it was found on."""
        start, batches = adaptable_parameters(model), mini_batches(model, support, self.inner.batch_size)
        problem = InnerProblem(model, self.prune_lr or self.inner.lr, adam=self.prune_optimizer == "adam")
        penalty = Penalty(frozenset(template.names), self.l1_weight, self.l1_step)
        copy = l1_finetuned_copy(problem, start, batches, replace(self.inner, epochs=self.prune_epochs), penalty)
        names = [layer.weight_name for layer in template.layers]
        scores = edge_scores(self.prune_by, problem, start, copy, batches, names)
        threshold = Threshold(self.threshold, self.gamma, self.keep_share)
        return pruned(template, scores, threshold, "nodes" if self.preset == "repo" else "edges"), copy


def _check_private(model: DialogueModel[Any]) -> None:
    """Raise ConfigError for a model without private layers, or with frozen ones."""
    if not isinstance(model, HasPrivatePart):
        raise ConfigError(
            "cmaml needs a model with a private part",
            hint="--set method=maml, or --set model=seq2spg",
            code="method_misfit",
        )
    if frozen := sorted(set(full_mask(model).names) - adaptable_parameters(model).keys()):
        raise ConfigError(f"cmaml needs all private weights to train, {frozen[0]} does not", code="method_misfit")
