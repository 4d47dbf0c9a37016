"""``base prepare``: a base gets an adapter checkpoint of its own, in the workspace, that personas begin at."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from menura.api.options import CommandOptions
from menura.api.runs import train
from menura.artefacts.bases import base as bases
from menura.artefacts.bases.prepared import prepared_file, prepared_folder
from menura.artefacts.tensors import metadata
from menura.errors import number_of
from menura.registry import device_of
from menura.training.config import RunConfig
from menura.training.overrides import with_settings
from menura.training.prepare_base import perplexities, recipe, try_rates, write
from menura.training.run_folder import Run
from menura.training.run_setup import Prepared, prepare
from menura.training.trainer import Training

if TYPE_CHECKING:
    from menura.training.trainer import Progress

MINUTE = 60


@dataclass(frozen=True)
class PreparedBase:
    """A prepared checkpoint: its file, and perplexity of validation speakers before and after, nothing adapted.

    ``trained`` is False where the checkpoint was there already.
    """

    path: Path
    before: float
    after: float
    speakers: int
    trained: bool


def prepare_base(
    name: str,
    options: CommandOptions,
    make_reporter: "Callable[[Run], Progress]",
    *,
    fresh: bool = False,
    say: Callable[[str], None] = print,
) -> PreparedBase | None:
    """Train the adapter checkpoint of a base from the packaged corpus; the same call resumes.

    The learning rate is the best of three to five on validation speakers, unless ``outer.lr`` is set. With ``fresh`` a
    checkpoint that is there is trained anew. Returns None with ``dry_run``. Raises what loading a base raises,
    DataError for a run of other settings in the folder, and NumericalError if no rate can be learnt at.
    """
    record = bases.pull(name, offline=options.offline, say=say)
    folder, file = prepared_folder(record), prepared_file(record)
    if file.exists() and not fresh:
        say(f"base {name} is prepared already; --fresh trains it anew")
        return _result(file, trained=False)
    assignments = (f"model.base={name}", *options.assignments)
    config = with_settings(replace(recipe(), seed=options.seed), assignments)
    if options.dry_run:
        outer = config.outer
        say(f"would train adapters for {name}: {outer.steps} steps of {outer.meta_batch_size} tasks")
        return None
    device = device_of(options.device)
    # Each stage loads the base for itself, so that never two of it are in memory.
    make = partial(prepare, config, device=device, offline=options.offline, say=say)
    rate = config.outer.lr
    if not any(one.strip().startswith("outer.lr=") for one in options.assignments):
        rates = folder / "rates.json"
        if fresh:
            rates.unlink(missing_ok=True)
        training = partial(_training, make, Run(folder / "run"), make_reporter)
        rate = _rate(rates, config, training, say)
    trained = train(
        "base-prepare",
        replace(options, assignments=(*assignments, f"outer.lr={rate:g}")),
        make_reporter,
        out=folder / "run",
        fresh=fresh,
        say=say,
    )
    assert trained is not None, "no dry run"
    best, prepared = Run(trained).best, make()
    write(file, prepared, best, perplexities(prepared, best))
    return _result(file, trained=True)


def _rate(path: Path, config: RunConfig, make: Callable[[], Training], say: Callable[[str], None]) -> float:
    """Return the best learning rate for a base; those that stand in ``path`` are not tried again."""
    say("       trying learning rates on validation speakers")
    rates = try_rates(path, config, make, say)
    minutes = max(1, round(rates.seconds * config.outer.steps / MINUTE))
    say(f"       {rates.best:g} is best; {number_of(config.outer.steps, 'step')} take about {minutes} min")
    return rates.best


def _training(make: Callable[[], Prepared], run: Run, make_reporter: "Callable[[Run], Progress]") -> Training:
    """Return the training of a base that rates are tried in; nothing of it is written."""
    prepared = make()
    tasks = prepared.tasks("train"), prepared.tasks("valid")
    return Training(run, prepared.config, prepared.loaded.model, *tasks, make_reporter(run), prepared.origin)


def _result(file: Path, *, trained: bool) -> PreparedBase:
    before, after, speakers = metadata(file)["validation_perplexity"].split()
    return PreparedBase(file, float(before), float(after), int(speakers), trained)
