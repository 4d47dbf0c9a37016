"""``menura reproduce EXPERIMENT`` and ``menura verify PAGES``."""

from pathlib import Path
from typing import Annotated

import typer

from menura import api
from menura.cli.globals import Globals
from menura.cli.terminal import Screen, columns
from menura.errors import number_of

ROWS = Annotated[list[str] | None, typer.Option("--row", help="One of its rows; may be given again.")]
SEEDS = Annotated[int | None, typer.Option("--seeds", help="At most so many seeds a row.", min=1)]
HOURS = Annotated[float | None, typer.Option("--hours", help="Begin no row after so many hours.", min=0)]


def reproduce(
    context: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Experiments; all of them if left out.")] = None,
    size: Annotated[str, typer.Option("--size", help="tiny, cpu or paper.")] = "cpu",
    rows: ROWS = None,
    seeds: SEEDS = None,
    hours: HOURS = None,
    show: Annotated[bool, typer.Option("--list", help="Run nothing: show the experiments.")] = False,
) -> None:
    """Train and score every row of a paper's table, most important first; the same command resumes."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    if show:
        every = api.experiments()
        lines = [[name, number_of(len(one.rows), "row"), one.question] for name, one in every.items()]
        screen.give("experiments", {"experiments": {n: one.question for n, one in every.items()}}, columns(lines))
        return
    wanted = api.Reproduction(names or (), size, rows or (), seeds, hours)
    left_out = api.reproduce(wanted, dry_run=given.dry_run, say=screen.say)
    if left_out:
        screen.say(f"left out, as the hours are over: {', '.join(left_out)}", left_out=left_out)


def verify(
    context: typer.Context,
    pages: Annotated[list[Path], typer.Argument(help="Pages with tables of experiments: docs/results/*.md")],
) -> None:
    """Make the figures of pages again from the published scores, and fail where one differs. Nothing is trained."""
    given: Globals = context.obj
    blocks = api.verify(pages)
    message = f"{number_of(len(pages), 'page')}: {number_of(blocks, 'block')} as the published scores give them"
    Screen(as_json=given.as_json).say(message, pages=[str(page) for page in pages], blocks=blocks)
