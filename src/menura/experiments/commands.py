"""A row and a seed become the commands that train and score it, as one would type them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from menura.artefacts.files import read_json
from menura.artefacts.runs import results_name, runs_folder
from menura.errors import NumericalError
from menura.experiments.experiment import Experiment, ExperimentRow
from menura.experiments.made_up import made_up_corpus
from menura.training.recipes import SIZED

TINY = "tiny"
DONE = "done"


@dataclass(frozen=True)
class Unit:
    """One row of an experiment with one seed at one size: its folders and commands."""

    experiment: Experiment
    row: ExperimentRow
    seed: int
    size: str

    @property
    def title(self) -> str:
        """The unit's name, as progress and errors show it."""
        return f"{self.experiment.name}/{self.row.name} seed {self.seed}"

    @property
    def folder(self) -> Path:
        """The folder of the experiment at this size."""
        return runs_folder() / f"{self.experiment.name}@{self.size}"

    @property
    def run(self) -> Path:
        """The folder of the training that is scored. Of several rates, those of seed 0 must have been trained."""
        trained = self.of(self.experiment.row(self.row.run_of)) if self.row.run_of else self
        return trained._run_at(trained._rate)

    @property
    def evaluation(self) -> Path:
        """The folder of the scores."""
        return self.folder / "scores" / f"{self.row.name}-{self.seed}" / results_name(self._target)

    @property
    def needs(self) -> tuple[ExperimentRow, ...]:
        """The rows whose training comes before, in order."""
        return tuple(self._before(self.row))

    @property
    def trainings(self) -> tuple["TrainingCommand", ...]:
        """The trainings of the row: one, or none, or one for each learning rate that is tried."""
        if not self.row.trains or self.row.run_of:
            return ()
        if self._tries_rates:
            return tuple(replace(self._training(rate), may_diverge=True) for rate in self.row.rates)
        return (self._training(self._rate),)

    @property
    def evaluate(self) -> tuple[str, ...]:
        """The command that scores. Its own seed is the same for all: replies are drawn alike."""
        sized = () if self.row.trains else (*self._sized, *_set((*self._settings, *self._start)))
        return ("eval", self._target, *sized, *self._scored_with, "--out", str(self.evaluation.parent))

    @property
    def is_scored(self) -> bool:
        """Whether the scores are there, by this command."""
        scores = self.evaluation / "scores.json"
        return scores.exists() and read_json(scores)["origin"]["words"] == list(self.evaluate)

    def _training(self, rate: float | None) -> "TrainingCommand":
        chosen = (f"outer.lr={rate:g}",) if rate is not None else ()
        folder = self._run_at(rate)
        words = ("train", self.row.recipe, *self._sized, "--seed", str(self.seed))
        return TrainingCommand(folder, (*words, *_set((*self._settings, *chosen, *self._start)), "--out", str(folder)))

    @property
    def _tries_rates(self) -> bool:
        return bool(self.row.rates) and self.seed == 0 and self.size != TINY

    @property
    def _rate(self) -> float | None:
        """The rate that seed 0 was best at, on validation personas; None for a row with one rate or at size tiny."""
        if self.row.rate_of:
            return self.of(self.experiment.row(self.row.rate_of))._rate
        if not self.row.rates or self.size == TINY:
            return None
        finite = {rate: loss for rate, loss in self.validation_losses.items() if loss is not None}
        return min(finite, key=lambda rate: finite[rate], default=self.row.rates[0])

    @property
    def validation_losses(self) -> dict[float, float | None]:
        """The lowest validation loss at each learning rate that seed 0 has tried; None where it diverged."""
        trials = {rate: Unit(self.experiment, self.row, 0, self.size)._run_at(rate) for rate in self.row.rates}
        return {rate: read_json(run / "STATUS.json").get("best") for rate, run in trials.items() if _has_ended(run)}

    def _run_at(self, rate: float | None) -> Path:
        return self.folder / (f"{self.row.name}-{self.seed}" + (f"-{rate:g}" if rate is not None else ""))

    def of(self, row: ExperimentRow) -> "Unit":
        """Return the unit of another row at the same size, with the same seed or its last one."""
        return Unit(self.experiment, row, min(self.seed, row.seeds - 1), self.size)

    @property
    def _scored_with(self) -> tuple[str, ...]:
        if self.row.scored_otherwise:
            return (*self.row.scored_with, *(("--personas", "3") if self.size == TINY else ()))
        shared = self.experiment.scored_with_tiny if self.size == TINY else self.experiment.scored_with
        return (*shared, *self.row.scored_with)

    @property
    def _start(self) -> tuple[str, ...]:
        return (f"model.init_from={self.of(self.experiment.row(self.row.start)).run}",) if self.row.start else ()

    @property
    def _target(self) -> str:
        return str(self.run) if self.row.trains else self.row.recipe

    @property
    def _settings(self) -> tuple[str, ...]:
        """The row's settings; size tiny keeps the length of its own trainings, and reads what is made up."""
        if self.size != TINY:
            return self.row.settings
        chosen = self.row.settings_tiny or tuple(one for one in self.row.settings if not one.startswith("outer."))
        return (f"data.corpus={made_up_corpus()}", *chosen)

    @property
    def _sized(self) -> tuple[str, ...]:
        return ("--size", self.size) if self.row.recipe in SIZED else ()

    def _before(self, row: ExperimentRow) -> Iterator[ExperimentRow]:
        for name in filter(None, (row.start, row.run_of, row.rate_of)):
            before = self.experiment.row(name)
            yield from self._before(before)
            yield before


@dataclass(frozen=True)
class TrainingCommand:
    """A command that trains into a folder; at one of several learning rates it ``may_diverge``."""

    folder: Path
    words: tuple[str, ...]
    may_diverge: bool = False

    @property
    def is_done(self) -> bool:
        """Whether it has come to its end, by this command."""
        typed = self.folder / "command.txt"
        ended = _has_ended(self.folder) if self.may_diverge else _state(self.folder) == DONE
        if not (ended and typed.exists()):
            return False
        return typed.read_text(encoding="utf-8").split(maxsplit=1)[1].rstrip("\n") == " ".join(self.words)


def _has_ended(run: Path) -> bool:
    return _state(run) in (DONE, NumericalError.code)


def _state(run: Path) -> str:
    """Return ``done``, the code of the error that a failed training ended with, or how far it is."""
    status = read_json(run / "STATUS.json") if (run / "STATUS.json").exists() else {"state": ""}
    return str(status.get("code", status["state"]))


def _set(settings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("--set", setting))
