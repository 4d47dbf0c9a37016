"""Published units are of the commands that an experiment types today; where it was changed since, they say so."""

from collections.abc import Sequence

from menura.artefacts.runs import runs_folder
from menura.errors import ConfigError, Problem
from menura.experiments.commands import Unit
from menura.experiments.experiment import Experiment
from menura.experiments.reproduce import typed
from menura.report.published import RUNS, PublishedUnit

RATE = "outer.lr="


def outdated(experiment: Experiment, units: Sequence[PublishedUnit]) -> list[Problem]:
    """Return a problem for each published command that the experiment would not type today.

    Of several learning rates any one counts: which is best was known after the trials only.
    """
    return [problem for unit in units for problem in _outdated(experiment, unit)]


def _outdated(experiment: Experiment, unit: PublishedUnit) -> list[Problem]:
    try:
        row = experiment.row(unit.row)
    except ConfigError as error:
        return [Problem(p.code, p.message, str(unit.path), "delete the file") for p in error.problems]
    today = Unit(experiment, row, unit.seed, unit.content["size"])
    pairs = [(today.evaluate, unit.origin["words"])]
    pairs += [(training.words, unit.content["run"]["words"]) for training in today.trainings[:1]]
    rates = {rate for each in experiment.rows for rate in each.rates}
    again = f"menura reproduce {experiment.name} --row {row.name}"
    return [
        Problem("outdated", f"{row.name} seed {unit.seed} was made by: {typed(then)}", str(unit.path), again)
        for now, then in pairs
        if _comparable(now, rates) != _comparable(then, rates)
    ]


def _comparable(words: Sequence[str], rates: set[float]) -> list[str]:
    """Return a command without this machine's folder and without the learning rate that was chosen."""
    chosen = [f"{rate:g}" for rate in rates]
    plain = []
    for word in words:
        shared = word.replace(str(runs_folder()), RUNS)
        if shared in [f"{RATE}{rate}" for rate in chosen]:
            shared = RATE
        if RUNS in shared:
            for rate in chosen:
                shared = shared.removesuffix(f"-{rate}")
        plain.append(shared)
    return plain
