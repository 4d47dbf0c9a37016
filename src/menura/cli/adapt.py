"""``menura adapt NAME FILES``."""

from pathlib import Path
from typing import Annotated

import typer

from menura import api
from menura.cli.globals import Globals
from menura.cli.screen import Screen


def adapt(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the persona is to be called.")],
    files: Annotated[list[Path], typer.Argument(help="Files of dialogues.")],
    speaker: Annotated[str | None, typer.Option(help="Whose persona it is.")] = None,
    shots: Annotated[int, typer.Option("-k", "--shots", help="Dialogues to learn from; the rest is held out.")] = 5,
    format: Annotated[str | None, typer.Option("--format", help="The format, if it is not to be detected.")] = None,
    base: Annotated[str, typer.Option(help="shipped, a base's name, a run's or another folder, a hub id.")] = "shipped",
    method: Annotated[str, typer.Option(help="How to learn: finetune, maml, cmaml. Else what serves best here.")] = "",
) -> None:
    """Learn a persona from a handful of dialogues, and say whether it helped."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    persona = api.adapt(
        *(name, files),
        speaker=speaker,
        k=shots,
        format=format,
        base=base,
        method=method,
        config=given.config,
        assignments=given.assignments,
        device=given.device,
        offline=given.offline,
        dry_run=given.dry_run,
        watch=lambda step, steps, loss: screen.bar("adapt", step, steps, f"loss {loss:.2f}"),
        say=screen.say,
    )
    if persona is None:
        return
    path = persona.path
    assert path is not None, "it was written"
    facts = {
        "name": name,
        "path": str(path),
        "bytes": path.stat().st_size,
        "held_out": persona.artefact.recipe["held_out"],
    }
    screen.give("done", facts, f"wrote  {path} ({path.stat().st_size / 1024:,.0f} KiB)\ntry    menura chat {name}")
