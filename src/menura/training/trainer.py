"""The only training loop of dialogue models: it minimises the method's objective over some tasks per step."""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor

from menura.adaptation.alternating import HasPhases
from menura.adaptation.compiled_maml import Objective, compiled_objective
from menura.adaptation.joint_inner_loop import LearnsJointly
from menura.adaptation.masked_adam import moving_only
from menura.adaptation.masks import PersonaMask
from menura.adaptation.weights import check_finite, loss_with, outer_groups, trainable_parameters
from menura.artefacts import checkpoint, tensors
from menura.artefacts.checkpoint import Checkpoint
from menura.batches.encode import EncodedEpisode
from menura.errors import EpisodeError, NumericalError, PeerError, number_of
from menura.metrics.perplexity import perplexity_of
from menura.models.dialogue_model import DialogueModel, FitsReplies, HasNegatives, Loss
from menura.training import persona_masks
from menura.training.config import RunConfig
from menura.training.data import EncodedTask
from menura.training.distributed import ALONE, Ranks, synchronized
from menura.training.negatives import auxiliary_loss, with_negatives
from menura.training.plateau import Plateau
from menura.training.precision import approximately
from menura.training.run_folder import Run, Signals


class Progress(Protocol):
    """Shows the progress of a training."""

    def step(self, step: int, steps: int, loss: float) -> None:
        """Show an outer step; ``loss`` is its query NLL per token."""

    def say(self, line: str) -> None:
        """Show a line of text."""


@dataclass
class Sums:
    """A step's query NLL and reply tokens, summed over tasks; of the loss's parts one value per task."""

    nll: float = 0.0
    tokens: float = 0.0
    parts: dict[str, list[float]] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """The NLL per token."""
        return self.nll / self.tokens

    def count(self, loss: Loss) -> None:
        """Add one task's loss."""
        self.add(
            float(loss.nll.detach().sum()), float(loss.tokens.sum()), {n: [float(v)] for n, v in loss.parts.items()}
        )

    def add(self, nll: float, tokens: float, parts: Mapping[str, list[float]]) -> None:
        """Add sums."""
        self.nll, self.tokens = self.nll + nll, self.tokens + tokens
        for name, values in parts.items():
            self.parts.setdefault(name, []).extend(values)


@dataclass
class Training:
    """One training in one folder: model, tasks by split, settings; ``ranks`` share the tasks of a step."""

    run: Run
    config: RunConfig
    model: DialogueModel[Any]
    train: Sequence[EncodedTask]
    valid: Sequence[EncodedTask]
    progress: Progress
    origin: Mapping[str, str] = field(default_factory=dict)  # metadata of the weights: their data and split
    ranks: Ranks = ALONE

    def __post_init__(self) -> None:
        """Set up the optimiser and drop tasks with too few dialogues for an episode."""
        outer = self.config.outer
        outer.check_together()
        persona_masks.check_alone(self.config.method, self.ranks.size)
        self.train = [t for t in self.train if len(t.dialogues) >= outer.shots + outer.queries]
        if not self.train:
            raise EpisodeError(f"no training persona has {outer.shots} + {outer.queries} dialogues")
        self.config.method.attach(self.model)
        if isinstance(self.model, FitsReplies):  # before a checkpoint replaces the initial weights
            replies = [e.reply for task in self.train for dialogue in task.dialogues for e in dialogue]
            self.model.fit_replies(replies, self.config.seed)
        self.objective: Objective = self.config.method.objective
        if outer.compile:
            self.objective = compiled_objective(self.config.method, self.model, self.progress.say)
        self.weights = trainable_parameters(self.model)
        self.optimizer = torch.optim.AdamW(
            outer_groups(self.model, outer.weight_decay, outer.weight_decay_of), lr=outer.lr
        )
        self.plateau = Plateau(outer.lr, outer.plateau_patience, outer.plateau_factor, outer.min_lr)
        self.step, self.best = 0, math.inf
        self.masks: Mapping[str, PersonaMask] = {}  # by persona, for methods that learn jointly

    def go(self) -> None:
        """Train to the end, from the newest complete checkpoint; on a signal save and raise Stopped."""
        self._resume()
        if self.config.method.second_order:
            self.progress.say("second order: attention runs with its plain kernel, the fused ones differentiate once")
        # A launcher sends signals of its own when a rank ends.
        with Signals(second_ends=self.ranks.size == 1).watched() as signals, self._saving_what_a_lost_rank_leaves():
            if isinstance(self.config.method, LearnsJointly):
                self._masks_of_the_initial_weights(self.config.method, signals)
            while self.step < self.config.outer.steps:
                self._go_a_step(signals)
        self.run.status("done", step=self.step, best=_finite(self.best))

    def _masks_of_the_initial_weights(self, method: LearnsJointly, signals: Signals) -> None:
        """Read the persona masks, or find them with the initial weights."""
        self.masks = persona_masks.read(self.run, self.model)
        if self.step:
            persona_masks.check_complete(self.run, self.masks, self.train)
        shots, personas = self.config.outer.shots, len({task.persona_id for task in self.train})
        finding = persona_masks.find_masks(self.model, method, self.train, shots, self.masks)
        with self._noting_failure(0), approximately(self.config.dtype, self.model.device):
            for self.masks in finding:
                found = len(self.masks)
                if found % persona_masks.SAVE_EVERY == 0 or found >= personas or signals.caught:
                    persona_masks.write(self.run, self.masks)
                    self.progress.say(f"found the persona masks of {found} of {personas} training personas")
                if signals.caught:
                    self.run.status("interrupted", step=0)
                    raise signals.stop(
                        f"stopped after {number_of(found, 'persona mask')}, saved; the same command goes on"
                    )
        persona_masks.tell(self.run, self.masks, self.progress.say)

    def _go_a_step(self, signals: Signals) -> None:
        """Take one step on all ranks, evaluate and save if due; stop if any rank got a signal."""
        outer = self.config.outer
        with self._noting_failure(self.step):
            self._outer_step(self.step)
            self.step += 1
            step, last = self.step, self.step == outer.steps
            if step % outer.eval_every == 0 or last:
                with synchronized(self.ranks):
                    self._check(step)
        caught = [number for number in self.ranks.all_gather_json(signals.caught) if number]
        if step % outer.save_every == 0 or last or caught:
            with synchronized(self.ranks):
                self._save(step)
        if caught:
            self.run.status("interrupted", step=step)
            signals.caught = caught[0]
            raise signals.stop(f"stopped after step {step}, saved; the same command goes on")

    @contextmanager
    def _saving_what_a_lost_rank_leaves(self) -> Iterator[None]:
        """If a rank is lost, save the last whole step and raise an error that says so."""
        try:
            yield
        except PeerError as error:
            saved = self.ranks.rank == 0 and self.step > 0
            if saved:
                self._save(self.step)
            self.run.status("interrupted", step=self.step, code=error.problems[0].code)
            told = f"{error.problems[0].message}, in step {self.step + 1}"
            raise PeerError(told + f"; step {self.step} is saved" * saved, hint=error.problems[0].hint) from error

    @contextmanager
    def _noting_failure(self, step: int) -> Iterator[None]:
        """Write a NumericalError of the block to the run's status."""
        try:
            yield
        except NumericalError as error:
            self.run.status("failed", step=step, code=error.problems[0].code)
            raise

    def _outer_step(self, step: int) -> None:
        method, rate = self.config.method, self.rate(step)
        sums, norm = self.optimizer_step(step, rate)
        for turn in method.phases() if isinstance(method, HasPhases) else ():
            parts = self.optimizer_step(step, rate * turn.lr_scale, turn.objective)[0].parts
            for name, values in parts.items():
                sums.parts.setdefault(name, []).extend(values)
        check_finite(self.weights, f"step {step + 1}", self._smaller_rate)
        self.run.note(
            step=step + 1,
            loss=sums.loss,
            loss_hex=sums.loss.hex(),
            norm=norm,
            tokens=sums.tokens,
            **{name: sum(values) / len(values) for name, values in sums.parts.items()},
            **({"lr": rate} if self.config.outer.plateau_patience else {}),
        )
        if self.config.outer.plateau_patience:
            self.plateau.step(sums.loss)
        self.progress.step(step + 1, self.config.outer.steps, sums.loss)

    def rate(self, step: int) -> float:
        """Return the optimiser's learning rate at a step."""
        outer = self.config.outer
        return self.plateau.lr * schedule(step, outer.steps, outer.warmup_steps, fall=outer.cosine)

    def optimizer_step(self, step: int, rate: float, objective: Objective | None = None) -> tuple[Sums, float]:
        """Take one optimiser step at a learning rate; return the losses before it, and the gradient's norm."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        sums = self.gradient(step, objective)
        norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), self.config.outer.max_grad_norm)
        if not (math.isfinite(sums.nll) and torch.isfinite(norm)):
            raise self._not_finite(step)
        with moving_only(self.optimizer, self.weights, self._moves(step)):
            self.optimizer.step()
        return sums, float(norm)

    def gradient(self, step: int, objective: Objective | None = None) -> Sums:
        """Set the gradients of a step, summed over the ranks' tasks; return the losses."""
        self.optimizer.zero_grad()
        with synchronized(self.ranks) as gathered:
            gathered.mine = asdict(self._share_of_gradient(step, objective or self.objective))
        sums = Sums()
        for told in gathered.told:
            sums.add(**told)
        if math.isfinite(sums.nll):
            self.ranks.sum_gradients(list(self.weights.values()))
        return sums

    def _share_of_gradient(self, step: int, objective: Objective) -> Sums:
        """Set the gradients of this rank's tasks: every size-th task of the step, from the rank's number on."""
        if isinstance(self.config.method, LearnsJointly):
            return self._joint_gradient(step, self.config.method)
        sums, outer = Sums(), self.config.outer
        for episode in islice(self._batches(step), self.ranks.rank, None, self.ranks.size):
            with approximately(self.config.dtype, self.model.device):
                loss = objective(self.model, episode, step / outer.steps)
            # One batch's graph at a time: memory of one, not of the meta-batch.
            (loss.total * outer.batched / outer.meta_batch_size).backward()  # type: ignore[no-untyped-call]
            sums.count(loss)
        return sums

    def _batches(self, step: int) -> Iterator[EncodedEpisode]:
        """Yield what the objective is taken over: each episode of a step, or the query of several as one."""
        episodes, together = self._episodes(step), self.config.outer.batched
        if together == 1:
            yield from episodes
            return
        while some := list(islice(episodes, together)):
            query = tuple(dialogue for episode in some for dialogue in episode.query)
            yield EncodedEpisode(" ".join(episode.persona_id for episode in some), (), query)

    def _joint_gradient(self, step: int, method: LearnsJointly) -> Sums:
        """Set the joint gradient of all tasks of a step."""
        sums, outer = Sums(), self.config.outer
        episodes = list(self._episodes(step))
        masks = [self.masks[episode.persona_id] for episode in episodes]
        with approximately(self.config.dtype, self.model.device):
            total, losses = method.joint_objective(self.model, episodes, masks, step / outer.steps)
        (total / outer.meta_batch_size).backward()  # type: ignore[no-untyped-call]
        for loss in losses:
            sums.count(loss)
        return sums

    def _moves(self, step: int) -> Mapping[str, Tensor]:
        """Return by name where a step may move a weight; other weights may move everywhere."""
        if not isinstance(self.config.method, LearnsJointly):
            return {}
        masks = [self.masks[episode.persona_id] for episode in self._episodes(step)]
        return self.config.method.outer_step_masks(self.model, masks)

    def drawn(self, step: int) -> list[str]:
        """Return the personas of a step's episodes, on all ranks."""
        return [episode.persona_id for episode in self._episodes(step)]

    def _episodes(self, step: int) -> Iterator[EncodedEpisode]:
        """Yield this step's episodes; each step has its own seed, so resuming needs no generator state."""
        rng = random.Random(f"{self.config.seed}:{step}")
        strangers = random.Random(f"{self.config.seed}:{step}:rivals")
        outer = self.config.outer
        for task in rng.choices(self.train, k=outer.meta_batch_size):
            drawn = rng.sample(task.dialogues, outer.shots + outer.queries)
            episode = EncodedEpisode(task.persona_id, tuple(drawn[: outer.shots]), tuple(drawn[outer.shots :]))
            if isinstance(self.model, HasNegatives):  # with a seed of their own, so that episodes stay the same
                episode = with_negatives(episode, self.train, self.model, strangers)
            yield episode

    def _check(self, step: int) -> None:
        """Adapt validation personas, note the query loss before and after, and keep the weights if they are the best.

        Without validation personas the last weights are kept. For a model that learns from negatives the criterion is
        the adapted loss plus the loss of its other terms.

        Rank 0 does it for all, so that its files are complete even if another rank is lost.
        """
        outer = self.config.outer
        eligible = [t for t in self.valid if len(t.dialogues) > outer.shots][: outer.eval_personas]
        if self.ranks.rank:
            return
        if not eligible:
            self._keep(step)
            return
        with approximately(self.config.dtype, self.model.device):
            before, after = held_out_nll(self.model, self.config.method.adapt, eligible, outer.shots, outer.queries)
            queries = [
                EncodedEpisode(t.persona_id, (), t.dialogues[outer.shots : outer.shots + outer.queries])
                for t in eligible
            ]
            auxiliary = auxiliary_loss(self.model, queries, self.train)
        found = torch.tensor([before, after, auxiliary])
        check_finite({"loss": found}, f"step {step}, held-back personas", self._smaller_rate)
        self.run.note(step=step, valid_before=before, valid_after=after, valid_beside=auxiliary)
        ppl_before, ppl_after = (perplexity_of([nll], [1], "pooled") for nll in (before, after))
        self.progress.say(f"step {step}: held-back personas PPL {ppl_before:.2f} -> {ppl_after:.2f} adapted")
        if after + auxiliary < self.best:
            self.best = after + auxiliary
            self._keep(step)

    def _keep(self, step: int) -> None:
        tensors.save(self.run.best, self.weights, {"step": str(step), **self.origin})

    def _save(self, step: int) -> None:
        if self.ranks.rank:
            return
        state = checkpoint.optimizer_state(self.optimizer, self.weights)
        kept: dict[str, Any] = {"best": _finite(self.best)}
        if self.config.outer.plateau_patience:
            kept["plateau"] = self.plateau.state()
        checkpoint.write(self.run.checkpoints, Checkpoint(step, self.weights, state, kept))

    def _resume(self) -> None:
        """Resume from the newest checkpoint, which rank 0 reads; without one, start from rank 0's weights."""
        found = None
        with synchronized(self.ranks):
            if self.ranks.rank == 0:
                found = checkpoint.newest(self.run.checkpoints, self.progress.say)
                self.run.truncate_log(found.step if found else 0)
                self.run.status("running", step=found.step if found else 0)
        found = self.ranks.broadcast(found or Checkpoint(0, self.weights, {}, {"best": None}))
        if not found.step and self.ranks.rank == 0:
            return
        tensors.check_same_shape(found.weights, self.weights, f"checkpoint step {found.step}")
        with torch.no_grad():
            for name, value in self.weights.items():
                value.copy_(found.weights[name])
        checkpoint.put_optimizer_state(self.optimizer, self.weights, found.optimizer)
        self.best = found.state["best"] if found.state["best"] is not None else math.inf
        if "plateau" in found.state:
            self.plateau.put(found.state["plateau"])
        self.step = found.step
        if self.step:
            self.progress.say(f"going on after step {self.step}")

    def _not_finite(self, step: int) -> NumericalError:
        personas = ", ".join(self.drawn(step))
        return NumericalError(
            f"step {step + 1}: loss or gradient not finite (personas {personas}); the last good state is kept",
            place=str(self.run.checkpoints),
            hint=self._smaller_rate,
        )

    @property
    def _smaller_rate(self) -> str:
        return f"try a smaller rate: --set outer.lr={self.config.outer.lr / 3:.1g}"


def held_out_nll(
    model: DialogueModel[Any], adapt: Callable[..., Any], tasks: Sequence[EncodedTask], shots: int, queries: int
) -> tuple[float, float]:
    """Return the pooled NLL per token of the query dialogues, before and after adapting on the first ``shots``."""
    sums: list[Tensor] = []
    for task in tasks:
        query = model.batch([e for dialogue in task.dialogues[shots : shots + queries] for e in dialogue])
        weights = adapt(model, task.dialogues[:shots])
        with torch.no_grad():
            before, after = model.loss(query), loss_with(model, weights, query)
        sums.append(torch.stack([before.nll.sum(), after.nll.sum(), before.tokens.sum()]))
    nll_before, nll_after, tokens = torch.stack(sums).sum(0).tolist()
    return nll_before / tokens, nll_after / tokens


def schedule(step: int, steps: int, warmup: int, *, fall: bool = True) -> float:
    """Return the share of the full learning rate at a step: linear warm-up, then cosine to a tenth, or constant."""
    if step < warmup:
        return (step + 1) / warmup
    if not fall:
        return 1.0
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
