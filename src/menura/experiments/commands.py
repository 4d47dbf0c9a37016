"""A row and a seed become the commands that train and score it, as one would type them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from menura.artefacts.files import read_json
from menura.artefacts.runs import results_name, runs_folder
from menura.experiments.experiment import Experiment, ExperimentRow
from menura.training.recipes import SIZED

TINY = "tiny"


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
        """The folder of the training."""
        return self._run_of(self.row.run_of or self.row.name)

    @property
    def evaluation(self) -> Path:
        """The folder of the scores."""
        return self.folder / "scores" / f"{self.row.name}-{self.seed}" / results_name(self._target)

    @property
    def needs(self) -> tuple[ExperimentRow, ...]:
        """The rows whose training comes before, in order."""
        return tuple(self._before(self.row))

    @property
    def train(self) -> tuple[str, ...]:
        """The command that trains; empty for a row without a training of its own."""
        if not self.row.trains or self.row.run_of:
            return ()
        start = (f"model.init_from={self._run_of(self.row.start)}",) if self.row.start else ()
        return (
            *("train", self.row.recipe, *self._sized, "--seed", str(self.seed)),
            *_set((*self._settings, *start)),
            *("--out", str(self.run)),
        )

    @property
    def evaluate(self) -> tuple[str, ...]:
        """The command that scores. Its own seed is the same for all: replies are drawn alike."""
        sized = () if self.row.trains else (*self._sized, *_set(self._settings))
        own = self.experiment.scored_with_tiny if self.size == TINY else self.experiment.scored_with
        return ("eval", self._target, *sized, *own, *self.row.scored_with, "--out", str(self.evaluation.parent))

    @property
    def commands(self) -> tuple[tuple[str, ...], ...]:
        """All that is typed for it, what it needs included."""
        trained = (self.of(row).train for row in (*self.needs, self.row))
        return (*filter(None, trained), self.evaluate)

    @property
    def is_trained(self) -> bool:
        """Whether the training has come to its end, by this command."""
        status, typed = self.run / "STATUS.json", self.run / "command.txt"
        if not (status.exists() and typed.exists() and read_json(status)["state"] == "done"):
            return False
        return typed.read_text(encoding="utf-8").split(maxsplit=1)[1].rstrip("\n") == " ".join(self.train)

    @property
    def is_scored(self) -> bool:
        """Whether the scores are there, by this command."""
        scores = self.evaluation / "scores.json"
        return scores.exists() and read_json(scores)["origin"]["words"] == list(self.evaluate)

    def of(self, row: ExperimentRow) -> "Unit":
        """Return the unit of another row with the same seed and size."""
        return Unit(self.experiment, row, self.seed, self.size)

    @property
    def _target(self) -> str:
        return str(self.run) if self.row.trains else self.row.recipe

    @property
    def _settings(self) -> tuple[str, ...]:
        """The row's settings; size tiny keeps the length of its own trainings."""
        if self.size != TINY:
            return self.row.settings
        return self.row.settings_tiny or tuple(one for one in self.row.settings if not one.startswith("outer."))

    @property
    def _sized(self) -> tuple[str, ...]:
        return ("--size", self.size) if self.row.recipe in SIZED else ()

    def _run_of(self, name: str) -> Path:
        return self.folder / f"{name}-{self.seed}"

    def _before(self, row: ExperimentRow) -> Iterator[ExperimentRow]:
        for name in filter(None, (row.start, row.run_of)):
            before = self.experiment.row(name)
            yield from self._before(before)
            yield before


def _set(settings: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for setting in settings for word in ("--set", setting))
