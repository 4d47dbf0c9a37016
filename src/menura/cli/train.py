"""``menura train RECIPE``."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from menura.cli.globals import Globals, device_of
from menura.cli.screen import Screen

if TYPE_CHECKING:
    from menura.experiments.run import Run
    from menura.experiments.run_config import RunConfig

OUT = Annotated[Path | None, typer.Option("--out", help="The run's folder; runs/RECIPE if left out.")]


def train(
    context: typer.Context,
    recipe: Annotated[str, typer.Argument(help="A named experiment: menura config list")],
    out: OUT = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what the folder holds and begin anew.")] = False,
    allow_config_change: Annotated[bool, typer.Option(help="Go on although settings or data differ.")] = False,
) -> None:
    """Train by a recipe; the same command again goes on where it stopped."""
    from menura.experiments.prepare import prepare
    from menura.experiments.run import Run
    from menura.experiments.train import Training

    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    config = _config(recipe, given)
    run = Run(out or Path("runs") / recipe.replace("/", "-"))
    if given.dry_run:
        screen.say(f"would train {recipe} in {run.folder}: {config.outer.steps} steps of {config.outer.tasks} tasks")
        return
    # All that can be refused is refused before the folder is touched.
    prepared = prepare(config, device=device_of(given), offline=given.offline, say=screen.say)
    training = Training(
        run,
        config,
        prepared.loaded.model,
        prepared.side("train"),
        prepared.side("valid"),
        _Shown(screen, run),
        prepared.origin,
    )
    with run.locked():
        if fresh:
            run.clear()
        run.open(config, prepared.sources, changed_allowed=allow_config_change)
        run.write_split(prepared.split.record())
        personas, adapting = len(training.train), sum(value.numel() for value in training.weights.values())
        size = f"{personas} training personas, {adapting:,} parameters adapt, {config.outer.steps} steps"
        screen.say(f"{recipe}: {size} -> {run.folder}")
        if cut := prepared.loaded.encoder.cut_text:
            screen.say(f"left out to fit {config.model.limit} tokens: {cut}")
        training.go()
    screen.say(f"done: {run.folder}", folder=str(run.folder))


class _Shown:
    """Progress on the screen, and in the run's log."""

    def __init__(self, screen: Screen, run: "Run") -> None:
        self._screen, self._run = screen, run

    def step(self, step: int, steps: int, loss: float) -> None:
        self._screen.bar("train", step, steps, f"loss {loss:.3f}")

    def say(self, line: str) -> None:
        self._run.log(line)
        self._screen.say(line)


def _config(name: str, given: Globals) -> "RunConfig":
    from menura.experiments.recipes import recipe
    from menura.experiments.settings import with_file, with_settings

    config = replace(recipe(name), seed=given.seed)
    if given.config:
        config = with_file(config, given.config)
    return with_settings(config, given.assignments)
