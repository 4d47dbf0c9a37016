"""``menura train RECIPE``."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from menura import api
from menura.cli.globals import Globals
from menura.cli.scorer import is_scorer, train_scorer
from menura.cli.terminal import Screen, StepProgress
from menura.errors import ConfigError, MenuraError, PeerError

if TYPE_CHECKING:
    from menura.training.run_folder import Run

RANKER = "ranker/"  # before the folder of the run that it is fitted to
SIZE = Annotated[str | None, typer.Option("--size", help="Of a recipe that comes in sizes: tiny, cpu or paper.")]
OUT = Annotated[
    Path | None,
    typer.Option("--out", help="The run's folder; if left out, RECIPE in the folder of runs ($MENURA_RUNS)."),
]
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
    given: Globals = context.obj
    sweep = {n: v for n, v in (("start", start), ("end", end), ("points", points)) if v is not None}
    if sweep and not find_lr:
        raise ConfigError("--from, --to and --points belong to --find-lr", hint="add --find-lr", code="usage")
    if find_lr:
        _find_lr(recipe, size, out, given, sweep)
    elif is_scorer(recipe):
        train_scorer(recipe, out, given, fresh=fresh)
    elif recipe.startswith(RANKER):
        _fit_ranker(Path(recipe.removeprefix(RANKER)), given, fresh=fresh)
    else:
        rank = api.rank()
        screen = (_Unseen if rank else Screen)(as_json=given.as_json)
        with _told_by_rank_0(rank):
            folder = api.train(
                *(recipe, given.options, lambda run: _TrainProgress(screen, run)),
                size=size,
                out=out,
                fresh=fresh,
                changed_allowed=allow_config_change,
                say=screen.say,
            )
        if folder:
            screen.say(f"done: {folder}", folder=str(folder))


def _find_lr(recipe: str, size: str | None, out: Path | None, given: Globals, sweep: dict[str, float | int]) -> None:
    """Try rising rates on a recipe; write the points and a picture, and no run."""
    screen = Screen(as_json=given.as_json)
    progress = StepProgress(screen, "rates")
    found = api.find_lr(recipe, given.options, sweep, progress, size=size, out=out, say=screen.say)
    if found:
        rate, tried, points, folder = found
        told = f"steepest descent at {rate:.1e}: --set outer.lr={rate:.1e}; {tried} of {points} rates"
        screen.say(f"{told} -> {folder}", rate=rate, folder=str(folder))


def _fit_ranker(folder: Path, given: Globals, *, fresh: bool) -> None:
    """Fit a ranker of its own candidates to a run; settings by --set, for example --set exchanges=100."""
    screen = Screen(as_json=given.as_json)
    path = api.fit_ranker(folder, given.options, fresh=fresh, say=screen.say)
    if path:
        screen.say(f"done: {path}", path=str(path))


@contextmanager
def _told_by_rank_0(rank: int) -> Iterator[None]:
    """End a rank other than 0 with the exit code alone: rank 0 prints a common error, each rank a lost one."""
    try:
        yield
    except PeerError:
        raise
    except MenuraError as error:
        if rank:
            raise typer.Exit(error.exit_code) from error
        raise


class _Unseen(Screen):
    """Shows nothing, as rank 0 shows the progress."""

    def say(self, line: str, **facts: Any) -> None:
        """Do nothing."""

    def bar(self, label: str, done: int, total: int, detail: str) -> None:
        """Do nothing."""


class _TrainProgress(StepProgress):
    """Progress on the screen, and in the run's log."""

    def __init__(self, screen: Screen, run: "Run") -> None:
        super().__init__(screen, "train")
        self._run = run

    def say(self, line: str) -> None:
        """Log it as well."""
        self._run.log(line)
        super().say(line)
