"""``menura annotate new | score``."""

from pathlib import Path
from typing import Annotated

import typer

from menura import api
from menura.cli.globals import EPILOG, Globals
from menura.cli.terminal import Screen

app = typer.Typer(help="Human judgement, blind, by files.", epilog=EPILOG, no_args_is_help=True)
STUDY = Path("study")


@app.command(epilog=EPILOG)
def new(
    context: typer.Context,
    results: Annotated[list[Path], typer.Argument(help="Folders that menura eval wrote, one a system or several.")],
    protocol: Annotated[str, typer.Option(help="What raters are asked: cmaml, plato or pairwise.")],
    row: Annotated[
        list[str] | None, typer.Option(help="A row to judge, such as adapted; several times for more. Default: all.")
    ] = None,
    items: Annotated[int, typer.Option(help="How many contexts are drawn; 0 = all.", min=0)] = 100,
    references: Annotated[
        bool, typer.Option("--references", help="Judge the real replies, too, as one more system.")
    ] = False,
    ties: Annotated[bool, typer.Option("--ties", help="Pairwise: raters may see no difference.")] = False,
    potato: Annotated[bool, typer.Option("--potato", help="Write a project for Potato, too.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="The study's folder.")] = STUDY,
) -> None:
    """Make blind sheets and a page for raters, and a key that raters never see."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    study = api.new_study(
        results,
        protocol,
        rows=row or (),
        items=items,
        references=references,
        ties=ties,
        with_potato=potato,
        seed=given.seed,
    )
    facts = {
        "study": study.study,
        "systems": list(study.systems),
        "contexts": study.contexts,
        "items": study.items,
        "questions": study.questions,
        "left_out": study.left_out,
        "same": study.same,
    }
    if given.dry_run:
        screen.give("study", facts, f"{study.said}\nwould write {', '.join(str(out / name) for name in study.files)}")
        return
    written = [str(path) for path in study.save(out)]
    screen.give("study", {**facts, "files": written}, study.said)
    screen.say(f"send raters {out / 'for-raters'}; keep {out / 'key.json'} to yourself", files=written)


@app.command(epilog=EPILOG)
def score(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="What raters sent back: CSV, or Potato's user_state.json.")],
    key: Annotated[Path, typer.Option(help="The study's key.")] = STUDY / "key.json",
    partial: Annotated[bool, typer.Option("--partial", help="Score what is there, though votes are missing.")] = False,
    rounds: Annotated[int, typer.Option(help="Resamples of the 95 % intervals.", min=1)] = 1000,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Where table.md and scores.json go.")] = None,
) -> None:
    """Turn votes into scores with 95 % intervals, and the agreement of raters."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    scored = api.score_study(files, key, partial=partial, rounds=rounds, seed=given.seed)
    screen.give("scores", scored.content(), scored.table())
    folder = out or key.parent / "scores"
    if not given.dry_run:
        screen.say(f"wrote {', '.join(str(path) for path in scored.save(folder))}")
