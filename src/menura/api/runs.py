"""Recipes become runs, runs become tables, tables become reports."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from menura.adaptation.default_methods import DEFAULT_PERSONA
from menura.api.agent import Model
from menura.api.options import CommandOptions, overridden
from menura.artefacts.files import write_text
from menura.artefacts.runs import run_path, runs_folder
from menura.errors import ConfigError, number_of
from menura.evaluation.evaluate import Results
from menura.evaluation.run import HERE, config_of, evaluate_prepared, evaluate_run
from menura.evaluation.settings import EvaluateConfig
from menura.metrics import catalogue as metrics
from menura.registry import device_of
from menura.report import results as report_files
from menura.training.config import RunConfig, as_json
from menura.training.data import DataConfig, split_of, tasks_of
from menura.training.overrides import paths_of, with_file, with_settings
from menura.training.recipes import RECIPES, SIZED, SIZES, recipe
from menura.training.run_folder import Run
from menura.training.run_setup import Prepared, prepare
from menura.workers.executors import Workers

if TYPE_CHECKING:
    from menura.batches.encode import Encoder
    from menura.scorers.check import ScorerEvaluation
    from menura.training.recipes.mamlviapp import Size
    from menura.training.trainer import Progress

RANKER, SCORER = "ranker/", "scorer/"  # before what is trained and is no dialogue model


# Evaluating


@dataclass(frozen=True)
class Evaluated:
    """The rows of a table, and the table itself."""

    results: Results

    def table(self) -> str:
        """Return scores and paired differences as Markdown that also reads as text."""
        return report_files.table(self.results)

    def save(self, folder: str | Path) -> list[Path]:
        """Write table.md, scores.csv, scores.json and all samples by line."""
        return report_files.write(self.results, Path(folder))


def evaluate(
    model: Model,
    *,
    data: DataConfig | str | Path | None = None,
    k: Sequence[int] = (5,),
    personas: int = 0,
    settings: EvaluateConfig | None = None,
) -> Evaluated:
    """Score held-out personas (the first ``personas``, 0 = all): un-adapted, wrong persona and adapted.

    ``data`` is the packaged corpus with its split, settings of your own, or a file in which everybody is held out.
    Raises MismatchError if the initial weights may have been trained on them.
    """
    if isinstance(data, str | Path):
        data = DataConfig(corpus=str(data), max_turns=0, min_heldout_dialogues=max(k) + 1, train=0, valid=0, test=1)
    method = model.method or DEFAULT_PERSONA
    run = RunConfig("api", model=model.loaded.config, method=method, data=data or DataConfig())
    prepared = Prepared(run, model.loaded, split_of(run.data, tasks_of(run.data)))
    chosen = replace(settings or EvaluateConfig(), shots=tuple(k))
    return Evaluated(evaluate_prepared(prepared, chosen, personas=personas, say=lambda line: None))


def plan_evaluation(
    target: str, settings: EvaluateConfig, options: CommandOptions, size: str | None = None
) -> RunConfig:
    """Return the settings of a recipe or a run as typed, to be evaluated; ConfigError for metrics that are none."""
    metrics.named(settings.metrics)
    return overridden(config_of(target, size), options.config, options.assignments)


def evaluate_target(
    config: RunConfig,
    settings: EvaluateConfig,
    options: CommandOptions,
    *,
    personas: int = 0,
    workers: Workers = HERE,
    say: Callable[[str], None] = print,
) -> Evaluated:
    """Score the held-out personas of a recipe or a run, as ``plan_evaluation`` returned it.

    Scores depend neither on the number of ``workers`` nor on the executor, where one process has one thread, too.
    """
    device, offline = device_of(options.device), options.offline
    return Evaluated(
        evaluate_run(config, settings, personas=personas, device=device, offline=offline, say=say, workers=workers)
    )


def check_scorer(
    target: str, scorers: str, options: CommandOptions
) -> "tuple[str, str, ScorerEvaluation, tuple[str, ...]]":
    """Evaluate a trained scorer: return its line, its data, the figures, and the labels evaluated among themselves."""
    from menura.scorers import store
    from menura.scorers.catalogue import named
    from menura.training import train_scorer as training

    name, _ = named(target)
    folder = store.folder_of(name, scorers)
    metadata = store.metadata_of(name, folder)
    config = overridden(training.settings_of(name, folder), options.config, options.assignments)
    evaluation = training.check_scorer(target, folder, config, device=device_of(options.device))
    return metadata.line, str(config.data.corpus), evaluation, metadata.within


def report(
    folders: Sequence[Path], names: Sequence[str], *, against: str = "", out: Path | None = None
) -> tuple[str, list[str]]:
    """Compare evaluations: return the table and the names of the files written to ``out`` (None: none).

    ``names`` are the metrics of the curves; ``against`` names the system that all others are compared with, pairwise
    (empty: none).
    """
    from menura.report import curves, saved_results
    from menura.report.paired_comparison import differences
    from menura.report.table import ARROWS, differences_markdown, markdown

    rows = [row for folder in folders for row in saved_results.read(folder)[0]]
    points = curves.points(rows)
    curves.check_there(points, names)
    titles = {
        row.scores[n].metric: f"{n} {ARROWS[row.scores[n].better]}" for row in rows for n in names if n in row.scores
    }
    compared = f"\n\n{differences_markdown(differences(folders, against))}" if against else ""
    texts = {
        "table.md": markdown([row.as_row() for row in rows]) + compared,
        "curves.csv": curves.csv_text(points),
        "curves.svg": curves.svg(points, names, titles),
    }
    if out is not None:
        for name, text in texts.items():
            write_text(out / name, text)
    return texts["table.md"], list(texts)


# Recipes


def recipes() -> dict[str, str]:
    """Return all recipes by name, each with what it is."""
    sizes = f"(--size {'|'.join(SIZES)})"
    plain = {name: (made.__doc__ or "").splitlines()[0] for name, made in RECIPES.items()}
    return plain | {name: f"{_about(made)} {sizes}" for name, made in SIZED.items()}


def _about(made: "Callable[[Size], RunConfig]") -> str:
    if not isinstance(made, partial):
        return (made.__doc__ or "").splitlines()[0]
    config = made("cpu")  # a row of a table: what it is made of
    return f"Model {config.model.name}, method {config.method.name}, corpus {config.data.corpus}."


def settings_of(name: str, options: CommandOptions, size: str | None = None) -> dict[str, tuple[Any, str]]:
    """Return every setting of a recipe by path, with where its value comes from: default, recipe, file or --set."""
    stages: list[tuple[str, Any]] = [("default", RunConfig(name)), ("recipe", recipe(name, size))]
    stages.append(("--seed", replace(stages[-1][1], seed=options.seed)))
    if options.config:
        stages.append((str(options.config), with_file(stages[-1][1], options.config)))
    stages.append(("--set", with_settings(stages[-1][1], options.assignments)))
    settings: dict[str, tuple[Any, str]] = {}
    for source, config in stages:
        settings = {
            path: (value, settings[path][1] if path in settings and settings[path][0] == value else source)
            for path, value in paths_of(config)
        }
    return settings


# Training


def train(
    name: str,
    options: CommandOptions,
    make_reporter: Callable[[Run], "Progress"],
    *,
    size: str | None = None,
    out: Path | None = None,
    fresh: bool = False,
    changed_allowed: bool = False,
    say: Callable[[str], None] = print,
) -> Path | None:
    """Train by a recipe; the same call resumes. Under torchrun, ranks share the tasks.

    ``make_reporter`` returns what shows the progress of a run.
    Returns the run's folder, None with ``dry_run``. Raises DataError, with every difference, for a folder of other
    settings or data, unless ``changed_allowed``.
    """
    from menura.training.distributed import NonMainRun, check_same_on_ranks, run_fingerprint, synchronized
    from menura.training.torchrun import joined_ranks, process_from_environment
    from menura.training.trainer import Training

    process = process_from_environment(os.environ)
    config = _config(name, size, options)
    run = (NonMainRun if process.rank else Run)(out or _folder_of(config))
    if options.dry_run:
        steps, tasks = number_of(config.outer.steps, "step"), number_of(config.outer.meta_batch_size, "task")
        say(f"would train {name} in {run.folder}: {steps} of {tasks}")
        return None
    device = process.device(device_of(options.device))
    with joined_ranks(process, device) as ranks, ExitStack() as held:
        # All that can be refused is refused before the folder is touched.
        prepared = ranks.make_in_turn(lambda: prepare(config, device=device, offline=options.offline, say=say))
        with synchronized(ranks):
            splits = prepared.tasks("train"), prepared.tasks("valid")
            model = prepared.loaded.model
            training = Training(run, config, model, *splits, make_reporter(run), prepared.origin, ranks)
        check_same_on_ranks(ranks, lambda: run_fingerprint(as_json(config), prepared.sources))
        with synchronized(ranks):
            held.enter_context(run.locked())
            if fresh:
                run.clear()
            run.open(config, prepared.sources, changed_allowed=changed_allowed)
            run.write_split(prepared.split.record())
            run.write_vocabulary(prepared.loaded.vocabulary)
        personas, adapting = len(training.train), sum(value.numel() for value in training.weights.values())
        say(
            f"{name}: {number_of(personas, 'training persona')}, {adapting:,} parameters adapt, "
            f"{number_of(config.outer.steps, 'step')} "
            f"-> {run.folder}" + f", {ranks.size} ranks" * (ranks.size > 1)
        )
        _say_unread(say, prepared.loaded.encoder)
        training.go()
    return run.folder


def rank() -> int:
    """Return the rank of this process, 0 for a single one."""
    from menura.training.torchrun import process_from_environment

    return process_from_environment(os.environ).rank


def find_lr(
    name: str,
    options: CommandOptions,
    sweep: Mapping[str, float | int],
    progress: "Progress",
    *,
    size: str | None = None,
    out: Path | None = None,
    say: Callable[[str], None] = print,
) -> tuple[float, int, int, Path] | None:
    """Try rising learning rates on a recipe; write the points and a picture, and no run.

    Returns the suggested rate, how many were tried of how many, and the folder; None with ``dry_run``.
    """
    from menura.report import curves
    from menura.training import lr_finder
    from menura.training.torchrun import process_from_environment
    from menura.training.trainer import Training

    if name.startswith((RANKER, SCORER)) or process_from_environment(os.environ).size > 1:
        raise ConfigError("--find-lr: of recipes of dialogue models, in one process", hint="menura config list")
    config, rates = _config(name, size, options), lr_finder.Sweep(**sweep)  # type: ignore[arg-type]  # read as they are
    folder = out or _folder_of(config, beside="-rates")
    if (folder / "run.json").exists():
        raise ConfigError(f"--find-lr: {folder} is a run's folder", hint=f"--out {folder}-rates")
    curves.check_plots()
    if options.dry_run:
        say(f"would try {rates.points} rates from {rates.start:g} to {rates.end:g} -> {folder}")
        return None
    prepared = prepare(config, device=device_of(options.device), offline=options.offline, say=say)
    splits = prepared.tasks("train"), prepared.tasks("valid")
    training = Training(Run(folder), config, prepared.loaded.model, *splits, progress, prepared.origin)
    tried = lr_finder.find_lr(training, rates)
    rate = lr_finder.suggestion(tried)
    write_text(folder / "rates.csv", curves.lr_csv(tried))
    write_text(folder / "rates.svg", curves.lr_svg(tried, rate, name))
    return rate, len(tried), rates.points, folder


def train_scorer(
    target: str, options: CommandOptions, progress: "Progress", *, out: Path | None = None, fresh: bool = False
) -> tuple[str, float, Path] | None:
    """Train a scorer into the workspace, or into a folder; return its line, the seconds and the folder."""
    from menura.scorers import store
    from menura.scorers.catalogue import named
    from menura.training import train_scorer as training

    name, kind = named(target)
    folder = out or store.folder_of(name)
    config = overridden(replace(kind.config(), seed=options.seed), options.config, options.assignments)
    if options.dry_run:
        progress.say(
            f"would train {target} in {folder}: {number_of(config.learning.epochs, 'epoch')} of {config.data.corpus}"
        )
        return None
    metadata = training.train_scorer(target, config, folder, progress, fresh=fresh, device=device_of(options.device))
    return metadata.line, metadata.seconds, folder


def fit_ranker(
    folder: Path, options: CommandOptions, *, fresh: bool = False, say: Callable[[str], None] = print
) -> Path | None:
    """Fit a ranker of its own candidates to a run; return its file, None with ``dry_run``."""
    from menura.evaluation import train_ranker

    folder = run_path(folder)
    config = overridden(train_ranker.RankerConfig(seed=options.seed), options.config, options.assignments)
    if options.dry_run:
        say(f"would fit a ranker to {folder} on {number_of(config.exchanges, 'exchange')} of its training split")
        return None
    device = device_of(options.device)
    return train_ranker.fit_ranker(folder, config, device=device, offline=options.offline, fresh=fresh, say=say)


def _config(name: str, size: str | None, options: CommandOptions) -> RunConfig:
    return overridden(replace(recipe(name, size), seed=options.seed), options.config, options.assignments)


def _folder_of(config: RunConfig, *, beside: str = "") -> Path:
    return runs_folder() / (config.recipe.replace("/", "-").replace("@", "-") + beside)


def _say_unread(say: Callable[[str], None], encoder: "Encoder") -> None:
    """Print what of the data was left out, or is unknown to the model."""
    if cut := encoder.cut_text:
        say(f"left out to fit {encoder.max_length} tokens: {cut}")
    if unknown := encoder.unknown_text:
        say(unknown)
