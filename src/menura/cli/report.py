"""``menura report FOLDERS``."""

from pathlib import Path
from typing import Annotated

import typer

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
    from menura.artefacts.files import write_text
    from menura.report import curves, written
    from menura.report.against import differences
    from menura.report.table import ARROWS, differences_markdown, markdown

    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    rows = [row for folder in folders for row in written.read(folder)[0]]
    found = curves.points(rows)
    names = [name for name in metrics.split(",") if name]
    curves.check_there(found, names)
    titles = {
        row.scores[n].metric: f"{n} {ARROWS[row.scores[n].better]}" for row in rows for n in names if n in row.scores
    }
    compared = f"\n\n{differences_markdown(differences(folders, against))}" if against else ""
    texts = {
        "table.md": markdown([row.as_row() for row in rows]) + compared,
        "curves.csv": curves.csv_text(found),
        "curves.svg": curves.svg(found, names, titles),
    }
    if not given.dry_run:
        for name, text in texts.items():
            write_text(out / name, text)
    files = [str(out / name) for name in texts]
    screen.give("report", {"files": files}, f"{texts['table.md']}\nwrote {', '.join(files)}")
