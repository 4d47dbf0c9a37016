"""``menura train RECIPE``."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from menura.cli.globals import Globals, configured, device_of
from menura.cli.scorer import is_scorer, train_scorer
from menura.cli.screen import Screen
from menura.errors import ConfigError, MenuraError, PeerError

if TYPE_CHECKING:
    from menura.batches.encode import Encoder
    from menura.training.config import RunConfig
    from menura.training.lr_finder import Sweep
    from menura.training.run_folder import Run
    from menura.training.setup import Prepared

RANKER = "ranker/"  # before the folder of the run that it is fitted to
SIZE = Annotated[str | None, typer.Option("--size", help="Of a recipe that comes in sizes: tiny, cpu or paper.")]
OUT = Annotated[Path | None, typer.Option("--out", help="The run's folder; runs/RECIPE if left out.")]
FIND = Annotated[bool, typer.Option("--find-lr", help="Train nothing: try rising rates and suggest one.")]
FROM = Annotated[float | None, typer.Option("--from", help="Of --find-lr: the lowest rate, 1e-7 if left out.")]
TO = Annotated[float | None, typer.Option("--to", help="Of --find-lr: the highest rate, 10 if left out.")]
POINTS = Annotated[int | None, typer.Option("--points", help="Of --find-lr: how many rates, 100 if left out.")]


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="A named experiment: menura config list; or scorer/nli, ranker/RUN")],
    size: SIZE = None,
    out: OUT = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what the folder holds and begin anew.")] = False,
    allow_config_change: Annotated[bool, typer.Option(help="Go on although settings or data differ.")] = False,
    find_lr: FIND = False,
    start: FROM = None,
    end: TO = None,
    points: POINTS = None,
) -> None:
    """Train by a recipe; the same command again goes on where it stopped. Under torchrun, ranks share the tasks."""
    from menura.training.config import as_json
    from menura.training.distributed import Elsewhere, check_alike, identity, meeting
    from menura.training.run_folder import Run
    from menura.training.setup import prepare
    from menura.training.torchrun import joined, place_of
    from menura.training.trainer import Training

    given: Globals = context.obj
    if sweep := _sweep({"start": start, "end": end, "points": points}, asked=find_lr):
        _find_lr(recipe, size, out, given, sweep)
        return
    if is_scorer(recipe) or recipe.startswith(RANKER):
        _train_other(recipe, out, given, fresh=fresh)
        return
    place = place_of(os.environ)
    screen = (_Unseen if place.rank else Screen)(as_json=given.as_json)
    config = _config(recipe, size, given)
    run = (Elsewhere if place.rank else Run)(out or _folder_of(config))
    if given.dry_run:
        screen.say(
            f"would train {recipe} in {run.folder}: {config.outer.steps} steps of {config.outer.meta_batch_size} tasks"
        )
        return
    device = place.device(device_of(given))
    with _told_by_rank_0(place.rank), joined(place, device) as ranks, ExitStack() as held:
        # All that can be refused is refused before the folder is touched.
        prepared = ranks.in_turn(lambda: prepare(config, device=device, offline=given.offline, say=screen.say))
        with meeting(ranks):
            training = Training(
                run,
                config,
                prepared.loaded.model,
                prepared.side("train"),
                prepared.side("valid"),
                _TrainProgress(screen, run),
                prepared.origin,
                ranks,
            )
        check_alike(ranks, lambda: identity(as_json(config), prepared.sources))
        with meeting(ranks):
            held.enter_context(run.locked())
            if fresh:
                run.clear()
            _open(run, prepared, config, changed_allowed=allow_config_change)
        personas, adapting = len(training.train), sum(value.numel() for value in training.weights.values())
        screen.say(
            f"{recipe}: {personas} training personas, {adapting:,} parameters adapt, {config.outer.steps} steps "
            f"-> {run.folder}" + f", {ranks.size} ranks" * (ranks.size > 1)
        )
        _tell_unread(screen, prepared.loaded.encoder)
        training.go()
    screen.say(f"done: {run.folder}", folder=str(run.folder))


def _open(run: "Run", prepared: "Prepared", config: "RunConfig", *, changed_allowed: bool) -> None:
    """Write down what the run is made from, or see to it that it still is."""
    run.open(config, prepared.sources, changed_allowed=changed_allowed)
    run.write_split(prepared.split.record())
    run.write_vocabulary(prepared.loaded.vocabulary)


def _folder_of(config: "RunConfig", *, beside: str = "") -> Path:
    return Path("runs") / (config.recipe.replace("/", "-").replace("@", "-") + beside)


def _sweep(told: dict[str, float | int | None], *, asked: bool) -> "Sweep | None":
    """Return which rates to try, if asked for; ConfigError where only how is told."""
    given = {name: value for name, value in told.items() if value is not None}
    if not asked:
        if given:
            raise ConfigError("--from, --to and --points belong to --find-lr", hint="add --find-lr", code="usage")
        return None
    from menura.training.lr_finder import Sweep

    return Sweep(**given)  # type: ignore[arg-type]  # each was read as what it is


def _find_lr(recipe: str, size: str | None, out: Path | None, given: Globals, sweep: "Sweep") -> None:
    """Try rising rates on a recipe; write the points and a picture, and no run."""
    from menura.artefacts.files import write_text
    from menura.report import curves, rates
    from menura.training.lr_finder import find_lr, suggestion
    from menura.training.run_folder import Run
    from menura.training.setup import prepare
    from menura.training.torchrun import place_of
    from menura.training.trainer import Training

    if is_scorer(recipe) or recipe.startswith(RANKER) or place_of(os.environ).size > 1:
        raise ConfigError("--find-lr: of recipes of dialogue models, in one process", hint="menura config list")
    screen, config = Screen(as_json=given.as_json), _config(recipe, size, given)
    folder = out or _folder_of(config, beside="-rates")
    if (folder / "run.json").exists():
        raise ConfigError(f"--find-lr: {folder} is a run's folder", hint=f"--out {folder}-rates")
    curves.check_plots()
    if given.dry_run:
        screen.say(f"would try {sweep.points} rates from {sweep.start:g} to {sweep.end:g} -> {folder}")
        return
    prepared = prepare(config, device=device_of(given), offline=given.offline, say=screen.say)
    model, sides = prepared.loaded.model, (prepared.side("train"), prepared.side("valid"))
    training = Training(Run(folder), config, model, *sides, _Tried(screen), prepared.origin)
    tried = find_lr(training, sweep)
    write_text(folder / "rates.csv", rates.csv_text(tried))
    rate = suggestion(tried)
    write_text(folder / "rates.svg", rates.svg(tried, rate, recipe))
    told = f"steepest descent at {rate:.1e}: --set outer.lr={rate:.1e}; {len(tried)} of {sweep.points} rates"
    screen.say(f"{told} -> {folder}", rate=rate, folder=str(folder))


def _tell_unread(screen: Screen, encoder: "Encoder") -> None:
    """Say what of the data was left out, or is unknown to the model."""
    if cut := encoder.cut_text:
        screen.say(f"left out to fit {encoder.max_length} tokens: {cut}")
    if unknown := encoder.unknown_text:
        screen.say(unknown)


def _train_other(target: str, out: Path | None, given: Globals, *, fresh: bool) -> None:
    """Train what is no dialogue model: a scorer, or the ranker of a run."""
    if is_scorer(target):
        train_scorer(target, out, given, fresh=fresh)
    else:
        _fit_ranker(Path(target.removeprefix(RANKER)), given, fresh=fresh)


def _fit_ranker(folder: Path, given: Globals, *, fresh: bool) -> None:
    """Fit a ranker of its own candidates to a run; settings by --set, for example --set exchanges=100."""
    from menura.evaluation.train_ranker import RankerConfig, fit_ranker

    screen = Screen(as_json=given.as_json)
    config = configured(replace(RankerConfig(), seed=given.seed), given)
    if given.dry_run:
        screen.say(f"would fit a ranker to {folder} on {config.exchanges} exchanges of its training side")
        return
    path = fit_ranker(folder, config, device=device_of(given), offline=given.offline, fresh=fresh, say=screen.say)
    screen.say(f"done: {path}", path=str(path))


@contextmanager
def _told_by_rank_0(rank: int) -> Iterator[None]:
    """End another rank with the exit code alone: an error that all share is told once, a lost rank by each."""
    try:
        yield
    except PeerError:
        raise
    except MenuraError as error:
        if rank:
            raise typer.Exit(error.exit_code) from error
        raise


class _Unseen(Screen):
    """Shows nothing: what there is to see, rank 0 shows."""

    def say(self, line: str, **facts: Any) -> None:
        """Keep it."""

    def bar(self, label: str, done: int, total: int, detail: str) -> None:
        """Keep it."""


class _TrainProgress:
    """Progress on the screen, and in the run's log."""

    def __init__(self, screen: Screen, run: "Run") -> None:
        self._screen, self._run = screen, run

    def step(self, step: int, steps: int, loss: float) -> None:
        self._screen.bar("train", step, steps, f"loss {loss:.3f}")

    def say(self, line: str) -> None:
        self._run.log(line)
        self._screen.say(line)


class _Tried:
    """Progress of a sweep on the screen; it has no log."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen

    def step(self, step: int, steps: int, loss: float) -> None:
        self._screen.bar("rates", step, steps, f"loss {loss:.3f}")

    def say(self, line: str) -> None:
        self._screen.say(line)


def _config(name: str, size: str | None, given: Globals) -> "RunConfig":
    from menura.training.recipes import recipe

    return configured(replace(recipe(name, size), seed=given.seed), given)
