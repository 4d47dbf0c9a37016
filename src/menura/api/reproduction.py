"""Experiments are run, their scores published beside a page, and the page's figures made and verified."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from menura.artefacts.files import write_text
from menura.corpus.atomic_files import reporting
from menura.errors import DataError, Problem, number_of
from menura.experiments.catalogue import EXPERIMENTS, experiment
from menura.experiments.commands import Unit
from menura.experiments.experiment import Experiment
from menura.report import outputs
from menura.report import page as pages
from menura.report.published import publish
from menura.training.recipes import size_named


@dataclass(frozen=True)
class Reproduction:
    """What is to be run: experiments, at a size, all or some rows and seeds of them, for some hours at most."""

    experiments: Sequence[str]
    size: str = "cpu"
    rows: Sequence[str] = ()
    seeds: int | None = None
    hours: float | None = None

    @property
    def units(self) -> list[Unit]:
        """The units in order. Raises ConfigError for a name or a size that is none."""
        size_named(self.size)
        chosen = [experiment(name) for name in self.experiments] or list(EXPERIMENTS.values())
        return [
            Unit(one, row, seed, self.size)
            for one in chosen
            for row, seed in one.units(self.rows, 1 if self.size == "tiny" else self.seeds)
        ]


def experiments() -> dict[str, Experiment]:
    """Return all experiments by name."""
    return dict(EXPERIMENTS)


def reproduce(reproduction: Reproduction, *, dry_run: bool = False, say: Callable[[str], None] = print) -> list[str]:
    """Train and score rows, and return the titles of those left out as the hours were over; the same call resumes.

    With ``dry_run`` the commands are said and not run. Raises CommandFailedError for a command that fails.
    """
    from menura.experiments.reproduce import reproduce as run
    from menura.experiments.reproduce import typed

    units = reproduction.units
    if dry_run:
        for unit in units:
            for row in (*unit.needs, unit.row):
                for training in unit.of(row).trainings:
                    say(typed(training.words))
            say(typed(unit.evaluate))
        return []
    return [unit.title for unit in run(units, hours=reproduction.hours, say=say)]


def report_page(
    path: Path,
    size: str = "cpu",
    *,
    printed: Mapping[str, Path] | None = None,
    say: Callable[[str], None] = print,
) -> bool:
    """Publish what is scored of a page's experiments beside it, and make the page's blocks; return if it changed.

    ``printed`` is what commands printed, by the name under which it is kept beside the page: a file whose first line is
    the command, or the folder of an evaluation. Raises DataError for units that do not compare, and for blocks that
    cannot be made.
    """
    with reporting(path):
        text = path.read_text(encoding="utf-8")
    for name, source in (printed or {}).items():
        outputs.keep(source, name, path.parent / pages.DATA)
    for name in pages.experiments_of(text):
        units = [Unit(experiment(name), row, seed, size) for row, seed in experiment(name).units()]
        scored = [unit for unit in units if unit.is_scored]
        for unit in scored:
            publish(unit, path.parent / pages.DATA / name)
        say(f"{name}: {number_of(len(scored), 'row')} of {len(units)} are scored here")
    made = pages.rendered(text, path.parent)
    if made != text:
        write_text(path, made)
    return made != text


def verify(paths: Sequence[Path]) -> int:
    """Make the figures of pages again from what is published beside them; return how many blocks there are.

    Raises DataError with every block that differs, with what is written and what the published units give.
    """
    problems, blocks = [], 0
    for path in paths:
        with reporting(path):
            text = path.read_text(encoding="utf-8")
        blocks += len(pages.BLOCK.findall(text))
        problems += [_problem(path, one) for one in pages.verified(text, path.parent)]
    if problems:
        raise DataError.of(problems)
    return blocks


def _problem(path: Path, block: pages.Differing) -> Problem:
    written, made = _first_difference(block.written, block.made)
    message = f"{block.block}: {written!r} is written, {made!r} is what the published scores give"
    return Problem("differs", message, f"{path}:{block.line}", f"menura report {path}")


def _first_difference(written: str, made: str) -> tuple[str, str]:
    lines = zip([*written.splitlines(), ""], [*made.splitlines(), ""], strict=False)
    return next(((ours, theirs) for ours, theirs in lines if ours != theirs), (written, made))
