"""Labelled texts become a trained scorer in its folder; the same command resumes it."""

import math
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from menura.artefacts import checkpoint, tensors
from menura.artefacts.checkpoint import Checkpoint
from menura.artefacts.earlier_names import renamed_settings
from menura.artefacts.files import read_json, write_json
from menura.artefacts.pretrained_folder import HEADER_LIMIT
from menura.errors import DataError, NumericalError, Problem, number_of
from menura.scorers import store
from menura.scorers.catalogue import SCORERS, ScorerConfig, ScorerSpec, named
from menura.scorers.check import ScorerEvaluation, evaluated
from menura.scorers.classifier import Classifier, Encoded, LabelledText, log_probs
from menura.scorers.data import ScorerSplits, splits_of
from menura.scorers.optimizer_settings import batches_of
from menura.scorers.store import ScorerMetadata
from menura.training.config import as_json, differences
from menura.training.overrides import from_plain
from menura.training.run_folder import Run, Signals
from menura.training.trainer import Progress

WRITTEN = "training.json"  # the settings and files of a training, compared when it is resumed


@dataclass
class ScorerTraining:
    """One classifier being trained in one folder."""

    run: Run
    config: ScorerConfig
    classifier: Classifier
    splits: ScorerSplits
    progress: Progress

    def __post_init__(self) -> None:
        """Encode the training examples and set up the optimiser."""
        learning = self.config.learning
        place = {label: number for number, label in enumerate(self.classifier.labels)}
        self.encoded: list[Encoded] = [self.classifier.encode(example.texts) for example in self.splits.train]
        self.label_ids = [place[example.label] for example in self.splits.train]
        learnt = [example.label for example in self.splits.train]
        self.label_weights = torch.tensor(learning.label_weights(self.classifier.labels, learnt))
        self.weights = dict(self.classifier.network.named_parameters())
        self.optimizer = torch.optim.AdamW(self.weights.values(), lr=learning.lr, weight_decay=learning.weight_decay)
        self.batches_per_epoch = math.ceil(len(self.encoded) / learning.batch_size)
        self.step, self.best, self.seconds = 0, math.inf, 0.0

    @property
    def steps(self) -> int:
        """The number of steps in all."""
        return self.batches_per_epoch * self.config.learning.epochs

    def go(self) -> None:
        """Train to the end from the newest checkpoint; stopped by a signal, save and raise Stopped."""
        self._resume()
        began, before = time.monotonic(), self.seconds
        with Signals().watched() as signals, torch.random.fork_rng(devices=[]):
            while self.step < self.steps:
                batch = self._batch(self.step)
                self._learn(batch)
                self.step += 1
                self.seconds = before + time.monotonic() - began
                if self.step % self.batches_per_epoch == 0:
                    self._choose_best()
                if self.step % self.config.learning.save_every == 0 or signals.caught:
                    self._save()
                if signals.caught:
                    raise signals.stop(f"stopped after step {self.step}, saved; the same command goes on")
        if self.run.best.exists():
            self._load(tensors.load(self.run.best, header_limit=HEADER_LIMIT))

    def _batch(self, step: int) -> list[int]:
        """Return the indices of a step's examples; each epoch has its own seed, so resuming needs no state."""
        epoch, number = divmod(step, self.batches_per_epoch)
        if number == 0 or not hasattr(self, "_epoch"):
            lengths = [len(one.ids) for one in self.encoded]
            self._epoch = batches_of(lengths, self.config.learning.batch_size, f"{self.config.seed}:{epoch}")
        return self._epoch[number]

    def _learn(self, places: Sequence[int]) -> None:
        learning, network = self.config.learning, self.classifier.network
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)  # so that dropout is the same after resuming
        network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning.rate_at(self.step, self.steps)
        self.optimizer.zero_grad()
        logits = self.classifier.logits([self.encoded[place] for place in places])
        label_ids = torch.tensor([self.label_ids[place] for place in places], device=logits.device)
        loss = torch.nn.functional.cross_entropy(logits, label_ids, self.label_weights.to(logits.device))
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.weights.values(), learning.max_grad_norm)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            hint = f"try a smaller rate: --set learning.lr={learning.lr / 3:.1g}"
            raise NumericalError(f"step {self.step + 1}: loss or gradient not finite", hint=hint)
        self.optimizer.step()
        value = float(loss.detach())
        self.run.note(step=self.step + 1, loss=value, loss_hex=value.hex())
        self.progress.step(self.step + 1, self.steps, value)

    def _choose_best(self) -> None:
        """Keep an epoch's weights if none before had a lower validation loss."""
        epoch = self.step // self.batches_per_epoch
        if not self.splits.validation:
            self.progress.say(f"epoch {epoch} of {self.config.learning.epochs}: {self.seconds:.0f} s")
            return
        loss = loss_on(self.classifier, self.splits.validation, self.label_weights)
        kept = loss < self.best
        self.progress.say(f"epoch {epoch}: loss {loss:.4f} on {len(self.splits.validation)} set aside{', kept' * kept}")
        if kept:
            self.best = loss
            tensors.save(self.run.best, self.weights)

    def _save(self) -> None:
        state = checkpoint.optimizer_state(self.optimizer, self.weights)
        kept = {"best": self.best if math.isfinite(self.best) else None, "seconds": self.seconds}
        checkpoint.write(self.run.checkpoints, Checkpoint(self.step, self.weights, state, kept))

    def _resume(self) -> None:
        found = checkpoint.newest(self.run.checkpoints, self.progress.say)
        self.run.truncate_log(found.step if found else 0)
        if found is None:
            self.run.best.unlink(missing_ok=True)  # of a training that was never saved
            return
        self._load(found.weights)
        checkpoint.put_optimizer_state(self.optimizer, self.weights, found.optimizer)
        self.step, self.seconds = found.step, found.state["seconds"]
        self.best = found.state["best"] if found.state["best"] is not None else math.inf
        self.progress.say(f"going on after step {self.step}")

    def _load(self, found: Any) -> None:
        tensors.check_same_shape(found, self.weights, "scorer in training")
        with torch.no_grad():
            for name, value in self.weights.items():
                value.copy_(found[name])


def train_scorer(
    scorer_name: str,
    config: ScorerConfig,
    folder: Path,
    progress: Progress,
    *,
    fresh: bool = False,
    device: str = "cpu",
) -> ScorerMetadata:
    """Train ``scorer/NAME`` into a folder, evaluate it on its test part, and return its description.

    A finished scorer with the same settings and files is returned as it is. Raises DataError with every difference if
    the folder has a training with others.
    """
    name, spec = named(scorer_name)
    run, splits = Run(folder), _splits(spec, config)
    if not fresh:
        _compare(folder, config, splits)
        if (folder / store.METADATA).exists():
            progress.say(f"trained already: {folder} (--fresh trains anew)")
            return store.metadata_of(name, folder)
    # All that can be refused is refused before the folder is touched.
    training = ScorerTraining(run, config, _initialised(spec, config, splits, device), splits, progress)
    with run.locked():
        if fresh:
            run.clear()
        write_json(folder / WRITTEN, _record(config, splits))
        progress.say(_start_message(scorer_name, training))
        training.go()
        return _finished(name, spec, training, folder)


def check_scorer(
    scorer_name: str, folder: Path, assigned: ScorerConfig | None = None, *, device: str = "cpu"
) -> ScorerEvaluation:
    """Evaluate a trained scorer on the test part of its own data, or of the data of ``assigned`` settings."""
    name, spec = named(scorer_name)
    stored = store.read(name, folder, device=device)
    config = assigned or settings_of(name, folder)
    splits = _splits(spec, config)
    found = evaluated(stored.classifier, splits.test, top_k=spec.top_k, label_subset=stored.metadata.within)
    return replace(found, description=splits.description)


def settings_of(name: str, folder: Path) -> ScorerConfig:
    """Return the settings a stored scorer was trained with."""
    made: ScorerConfig = from_plain(SCORERS[name].config(), store.metadata_of(name, folder).settings, "scorer")
    return made


def loss_on(classifier: Classifier, examples: Sequence[LabelledText], weights: Tensor) -> float:
    """Return the mean NLL (nats) of the examples' labels, weighted by class."""
    place = {label: number for number, label in enumerate(classifier.labels)}
    # A label that occurs only in the validation part cannot be predicted, whatever the weights.
    known = [example for example in examples if example.label in place]
    label_ids = torch.tensor([place[example.label] for example in known])
    scores = log_probs(classifier, [example.texts for example in known])
    return float(torch.nn.functional.nll_loss(scores, label_ids, weights))


def _splits(spec: ScorerSpec, config: ScorerConfig) -> ScorerSplits:
    return splits_of(config.data, spec.read, config.learning.validation_share)


def _initialised(spec: ScorerSpec, config: ScorerConfig, splits: ScorerSplits, device: str) -> Classifier:
    spec.label_subset(config, splits)  # refused before minutes of training
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        made = spec.fresh(config, splits)
    made.network.to(device)
    return made


def _record(config: ScorerConfig, splits: ScorerSplits) -> dict[str, Any]:
    return {"settings": as_json(config), "files": splits.files}


def _compare(folder: Path, config: ScorerConfig, splits: ScorerSplits) -> None:
    path = folder / WRITTEN
    changed = differences(_as_of_now(read_json(path)), _record(config, splits)) if path.exists() else []
    if changed:
        hint = "use another --out, or --fresh to train anew"
        raise DataError.of(
            [Problem("config_changed", line, str(path), "" if i else hint) for i, line in enumerate(changed)]
        )


def _start_message(scorer_name: str, training: ScorerTraining) -> str:
    splits = training.splits
    size = sum(value.numel() for value in training.weights.values())
    return (
        f"{scorer_name}: {len(splits.train):,} examples of {len(splits.labels)} labels, "
        f"{len(splits.validation):,} to choose by, {len(splits.test):,} to judge by ({splits.description}), "
        f"{size:,} parameters, {number_of(training.steps, 'step')} -> {training.run.folder}"
    )


def _finished(name: str, spec: ScorerSpec, training: ScorerTraining, folder: Path) -> ScorerMetadata:
    """Evaluate the scorer, write it, and delete the files needed only to resume."""
    splits, classifier = training.splits, training.classifier
    label_subset = spec.label_subset(training.config, splits)
    found = evaluated(classifier, splits.test, top_k=spec.top_k, label_subset=label_subset)
    metadata = ScorerMetadata(
        kind=name,
        labels=classifier.labels,
        settings=as_json(training.config),
        network=spec.sizes(classifier),
        files=splits.files,
        said=splits.description,
        within=label_subset,
        evaluation=(found.accuracy.hits, found.accuracy.total),
        sums={},
        seconds=round(training.seconds, 1),
    )
    whole = store.write(folder, classifier, metadata)
    shutil.rmtree(training.run.checkpoints, ignore_errors=True)
    training.run.best.unlink(missing_ok=True)
    return whole


def _as_of_now(record: dict[str, Any]) -> dict[str, Any]:
    """Return a training's saved settings, under today's names."""
    return {**record, "settings": renamed_settings(record["settings"], "scorer")} if "settings" in record else record
