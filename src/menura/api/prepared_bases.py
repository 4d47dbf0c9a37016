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
from menura.artefacts.files import read_json, write_json
from menura.artefacts.tensors import metadata
from menura.registry import device_of
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
    """A prepared checkpoint: its file, and perplexity of validation speakers before and after, nothing adapted."""

    path: Path
    before: float
    after: float
    speakers: int


def prepare_base(
    name: str,
    options: CommandOptions,
    make_reporter: "Callable[[Run], Progress]",
    *,
    fresh: bool = False,
    say: Callable[[str], None] = print,
) -> PreparedBase | None:
    """Train the adapter checkpoint of a base from the packaged corpus; the same call resumes.

    The learning rate is the best of three on validation speakers, unless ``outer.lr`` is set. With ``fresh`` a
    checkpoint that is there is trained anew. Returns None with ``dry_run``. Raises what loading a base raises, and
    DataError for a run of other settings in the folder.
    """
    record = bases.pull(name, offline=options.offline, say=say)
    folder, file = prepared_folder(record), prepared_file(record)
    if file.exists() and not fresh:
        say(f"base {name} is prepared already; --fresh trains it anew")
        return _result(file)
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
        rate = _rate(make, folder, make_reporter, say)
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
    return _result(file)


def _rate(
    make: Callable[[], Prepared],
    folder: Path,
    make_reporter: "Callable[[Run], Progress]",
    say: Callable[[str], None],
) -> float:
    """Return the best learning rate for a base, found once."""
    kept = folder / "rates.json"
    if kept.exists():
        return float(read_json(kept)["best"])
    say("       trying learning rates on validation speakers")
    run, prepared = Run(folder / "run"), make()
    tasks = prepared.tasks("train"), prepared.tasks("valid")
    training = Training(run, prepared.config, prepared.loaded.model, *tasks, make_reporter(run), prepared.origin)
    found = try_rates(training, say)
    minutes = found.seconds * prepared.config.outer.steps / MINUTE
    say(f"       {found.best:g} is best; {prepared.config.outer.steps} steps take about {max(1, round(minutes))} min")
    write_json(kept, {"best": found.best, "perplexity": {f"{r:g}": ppl for r, ppl in found.perplexity.items()}})
    return found.best


def _result(file: Path) -> PreparedBase:
    before, after, speakers = metadata(file)["validation_perplexity"].split()
    return PreparedBase(file, float(before), float(after), int(speakers))
