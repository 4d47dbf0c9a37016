"""``menura report FOLDERS``."""

from pathlib import Path
from typing import Annotated

import typer

from menura import api
from menura.cli.globals import Globals
from menura.cli.screen import Screen


def report(
    context: typer.Context,
    folders: Annotated[list[Path], typer.Argument(help="Folders that menura eval wrote, one a system.")],
    metrics: Annotated[str, typer.Option(help="Metrics of the curves, comma-separated; empty = ppl.")] = "ppl",
    against: Annotated[str, typer.Option(help="Add paired differences to the system of this name.")] = "",
    out: Annotated[Path, typer.Option("--out", "-o", help="Where table and curves go.")] = Path("results/report"),
) -> None:
    """Put evaluations side by side: one table, and K-shot curves as CSV and SVG."""
    given: Globals = context.obj
    names = [name for name in metrics.split(",") if name]
    table, written = api.report(folders, names, against=against, out=None if given.dry_run else out)
    files = [str(out / name) for name in written]
    Screen(as_json=given.as_json).give("report", {"files": files}, f"{table}\nwrote {', '.join(files)}")
