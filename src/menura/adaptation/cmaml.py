"""Customised MAML: a structure for each persona, and private weights trained together (CMAML; Song et al., 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor

from menura.adaptation.inner_loop import InnerLoop, Watch, mini_batches
from menura.adaptation.inner_step import InnerProblem
from menura.adaptation.joint import Reduce, Together, walking
from menura.adaptation.l1_penalty import Kind, Penalty, sparse_copy
from menura.adaptation.masks import PersonaMask, Threshold, living, pruned, whole
from menura.adaptation.weights import PersonaWeights, adaptable, adapting, with_part
from menura.batches.batch import Batch
from menura.batches.encode import EncodedDialogue, EncodedEpisode
from menura.errors import ConfigError
from menura.models.dialogue_model import DialogueModel, HasPrivatePart, Loss


@dataclass(frozen=True)
class Cmaml:
    """Lower the query losses of some tasks together, each with the private weights that its persona keeps.

    A structure is found on a copy: ``prune_epochs`` passes over the support with ``sparsity`` times the sum of private
    magnitudes (``l1`` says how), then of the inner private layers what is not above ``gamma`` (``threshold`` absolute)
    or not among the ``keep`` largest share of a layer (quantile) goes. A persona is learnt from the meta-weights again.
    ``private_reduce``: of the tasks' gradients by a private weight that they share (Eq. 4 prints the sum, which makes
    that step up to as many times larger as there are tasks). ``private_adam`` masked: the outer step leaves a weight
    and its moments alone that no task of the step has (Eq. 5). Under ``order`` first, steps are constants; exact goes
    through all of them, also from one task to another by the weights they share.

    ``preset`` repo does as the public program: nodes of all layers go, structures hold back steps and not weights,
    nothing is shared between tasks, and a persona is learnt on from the copy. A model without a private part is all
    shared, which makes this MAML; ``attach`` refuses it. ``adapts``: parts of names, comma-separated; the inner loop
    moves only what has one in its name ("" = all, as the paper has it), and a persona holds nothing else.
    """

    name: ClassVar[str] = "cmaml"
    has_inner_loop: ClassVar[bool] = True

    inner: InnerLoop = field(default_factory=InnerLoop)
    order: Literal["exact", "first"] = "first"
    threshold: Literal["absolute", "quantile"] = "absolute"
    gamma: float = 0.05
    keep_share: float = 0.5
    l1_weight: float = 0.001
    l1_step: Kind = "subgradient"
    prune_epochs: int = 5
    private_reduce: Reduce = "mean"
    private_adam: Literal["masked", "plain"] = "masked"
    preset: Literal["paper", "repo"] = "paper"
    trainable: str = ""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing; settings that contradict one another are refused by ``attach``."""
        if self.order not in ("exact", "first"):
            raise ConfigError(f"method.order: {self.order}, must be exact or first")
        for name in ("gamma", "l1_weight", "prune_epochs"):
            if getattr(self, name) < 0:
                raise ConfigError(f"method.{name}: {getattr(self, name)}, must not be negative")
        if not 0 < self.keep_share <= 1:
            raise ConfigError(f"method.keep_share: {self.keep_share}, must lie above 0 and at most at 1")

    @property
    def second_order(self) -> bool:
        """Tell whether an objective may differentiate twice."""
        return self.order == "exact"

    def attach(self, model: DialogueModel[Any]) -> None:
        """Need nothing beside the model; ConfigError for settings or a model that come to nothing."""
        usual = {each.name: each.default for each in fields(self)}
        for name, idle, why in (
            ("gamma", self.threshold == "quantile", "threshold quantile looks at keep"),
            ("keep_share", self.threshold == "absolute", "threshold absolute looks at gamma"),
            (
                "l1_step",
                not (self.l1_weight and self.prune_epochs),
                "without sparsity or prune_epochs there is no penalty",
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
        if left_out := sorted(set(whole(model).names) - adapting(model, self.trainable).keys()):
            said = f"method.trainable: {self.trainable} leaves out {left_out[0]}; a mask is of all private weights"
            raise ConfigError(said, hint=f"--set method.trainable={','.join(whole(model).names)}")

    def for_persona(self, model: DialogueModel[Any]) -> Self:
        """Move private weights alone where nothing else is set: a persona is its mask and what lives in it."""
        return self if self.trainable else replace(self, trainable=",".join(whole(model).names))

    def objective(self, model: DialogueModel[Any], episode: EncodedEpisode, progress: float = 1.0) -> Loss:
        """Return the query loss of one task alone, its structure found anew from the present weights."""
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
        """Return the sum of the tasks' query losses with its meta-gradient, and each of them free of any graph."""
        if self.preset == "repo":  # one by one: what is pooled over one task is not pooled
            alone = [self._jointly(model, [e], [s]) for e, s in zip(episodes, masks, strict=True)]
            return torch.stack([total for total, _ in alone]).sum(), [loss for _, (loss,) in alone]
        return self._jointly(model, episodes, masks)

    def moves(self, model: DialogueModel[Any], masks: Sequence[PersonaMask]) -> dict[str, Tensor]:
        """Return by name the private weights that live in one of the structures; all else may move everywhere."""
        if self.private_adam == "plain" or self.preset == "repo":
            return {}
        found = [mask.kept(model.device) for mask in masks]
        limited = [name for name in found[0] if all(name in kept for kept in found)]
        return {name: torch.stack([kept[name] for kept in found]).any(0) for name in limited}

    def find_mask(self, model: DialogueModel[Any], support: Sequence[EncodedDialogue]) -> PersonaMask:
        """Return what a persona keeps, as its support set tells from the model's present weights (Algorithm 1)."""
        shape = whole(model)
        if not shape.layers or not any(support):
            return shape
        with torch.enable_grad():
            return self._pruned(shape, self._sparse(model, support, shape))

    def adapted(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], watch: Watch | None = None
    ) -> tuple[PersonaWeights, PersonaMask]:
        """Return what one persona differs in, 0 where it keeps nothing, and its structure.

        ``watch`` sees the steps that stay, not those of the copy.
        """
        start, mask = adapting(model, self.trainable), whole(model)
        begin: PersonaWeights = start
        with torch.enable_grad():
            if mask.layers and any(support):
                sparse = self._sparse(model, support, mask)
                mask = self._pruned(mask, sparse)
                begin = with_part(sparse, self.trainable) if self.preset == "repo" else start
            trajectory = self._walk(model, begin, [mask], exact=False)
            for done, steps, loss in walking(trajectory, [self._batches(model, support)], self.inner):
                if watch:
                    watch(done, steps, float(loss))
        weights = {name: value.detach() for name, value in trajectory.weights(0).items()}
        weights = weights if self.preset == "repo" else living(weights, mask)
        # What took no step is still the model's own, which the next persona would share.
        own = {value.data_ptr() for value in start.values()}
        return {n: value.clone() if value.data_ptr() in own else value for n, value in weights.items()}, mask

    def adapt(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], watch: Watch | None = None
    ) -> PersonaWeights:
        """Return the weights that ``adapted`` finds."""
        return self.adapted(model, support, watch)[0]

    def _jointly(
        self, model: DialogueModel[Any], episodes: Sequence[EncodedEpisode], masks: Sequence[PersonaMask]
    ) -> tuple[Tensor, list[Loss]]:
        trajectory = self._walk(model, adaptable(model), masks, exact=self.order == "exact")
        for _ in walking(trajectory, [self._batches(model, episode.support) for episode in episodes], self.inner):
            pass
        return trajectory.query_loss([model.batch(tuple(chain.from_iterable(episode.query))) for episode in episodes])

    def _walk(
        self, model: DialogueModel[Any], start: PersonaWeights, masks: Sequence[PersonaMask], *, exact: bool
    ) -> Together:
        problem, dense = InnerProblem(model, self.inner.lr, adam=False), self.preset == "repo"
        moving = frozenset(with_part(start, self.trainable))
        return Together(problem, start, masks, exact, self.private_reduce, dense, moving)

    def _batches(self, model: DialogueModel[Any], support: Sequence[EncodedDialogue]) -> list[Batch]:
        return mini_batches(model, support, self.inner.batch_size) if self.inner.epochs and any(support) else []

    def _sparse(
        self, model: DialogueModel[Any], support: Sequence[EncodedDialogue], shape: PersonaMask
    ) -> dict[str, Tensor]:
        problem = InnerProblem(model, self.inner.lr, adam=False)
        penalty = Penalty(frozenset(shape.names), self.l1_weight, self.l1_step)
        batches = mini_batches(model, support, self.inner.batch_size)
        return sparse_copy(problem, adaptable(model), batches, replace(self.inner, epochs=self.prune_epochs), penalty)

    def _pruned(self, shape: PersonaMask, weights: PersonaWeights) -> PersonaMask:
        threshold = Threshold(self.threshold, self.gamma, self.keep_share)
        return pruned(shape, weights, threshold, "nodes" if self.preset == "repo" else "edges")


def _check_private(model: DialogueModel[Any]) -> None:
    """Raise ConfigError for a model that keeps nothing to a persona, or does not train it."""
    if not isinstance(model, HasPrivatePart):
        raise ConfigError(
            "cmaml needs a model with a private part", hint="--set model=seq2spg, or method=maml", code="method_misfit"
        )
    if frozen := sorted(set(whole(model).names) - adaptable(model).keys()):
        raise ConfigError(f"cmaml needs all private weights to train, {frozen[0]} does not", code="method_misfit")
