"""``menura adapt NAME FILES``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from menura import api
from menura.cli.globals import Globals
from menura.cli.options import DTYPE
from menura.cli.reading import DATES, DROP_LINKS, ENCODING, GAP, REDACT, SAME, options_of
from menura.cli.terminal import Screen

PICK = typer.Option(help="Which dialogues: the most recent before those held out, or spread over all.")
REPLACE = typer.Option("--replace", help="Discard a persona of this name; else it stays as an earlier version.")


def adapt(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the persona is to be called.")],
    files: Annotated[list[Path], typer.Argument(help="Chat exports, character cards, folders, zip archives.")],
    speaker: Annotated[str | None, typer.Option(help="Whose persona it is, where NAME does not say.")] = None,
    shots: Annotated[int, typer.Option("-k", "--shots", help="Dialogues to learn from.")] = 5,
    pick: Annotated[str, PICK] = "recent",
    format: Annotated[str | None, typer.Option("--format", help="The format, if it is not to be detected.")] = None,
    gap: GAP = None,
    dates: DATES = "",
    same: SAME = None,
    encoding: ENCODING = "",
    redact: REDACT = False,
    drop_links: DROP_LINKS = False,
    base: Annotated[str, typer.Option(help="shipped, a base's name, a run's or another folder, a hub id.")] = "shipped",
    method: Annotated[str, typer.Option(help="How to learn: finetune, maml, cmaml. Else what serves best here.")] = "",
    dtype: DTYPE = "auto",
    replace: Annotated[bool, REPLACE] = False,
) -> None:
    """Learn a persona from a handful of dialogues, and say whether it helped."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    made = api.adapt(
        *(name, files),
        speaker=speaker,
        k=shots,
        pick=pick,  # type: ignore[arg-type]  # checked where it is used
        format=format,
        options=options_of(gap, dates, same, encoding, redact=redact, drop_links=drop_links),
        base=base,
        method=method,
        config=given.config,
        assignments=given.assignments,
        device=given.device,
        offline=given.offline,
        dtype=dtype,  # type: ignore[arg-type]  # checked where it is used
        dry_run=given.dry_run,
        replace_old=replace,
        choose_speaker=lambda speakers: _asked(speakers, screen),
        on_step=lambda reply, replies, loss: screen.bar("adapt  reply", reply, replies, f"loss {loss:.2f}"),
        on_control_step=lambda reply, replies, loss: screen.bar("control  reply", reply, replies, f"loss {loss:.2f}"),
        say=screen.say,
    )
    if made is None:
        return
    saved, persona = made.saved, made.persona
    kept = f"\n       the persona before it is {saved.earlier}" if saved.earlier else ""
    size = saved.path.stat().st_size
    wrote = f"wrote  {saved.path} ({size / 1024:,.0f} KiB)" if saved.changed else f"same   {saved.path} is this persona"
    facts = {
        "name": name,
        "path": str(saved.path),
        "bytes": size,
        "earlier": saved.earlier,
        "changed": saved.changed,
        "held_out": persona.artefact.recipe["held_out"],
    }
    screen.give("done", facts, f"{wrote}{kept}\ntry    menura chat {name}")


def _asked(speakers: Sequence[str], screen: Screen) -> str | None:
    """Ask whose persona it is where there is a terminal; None where there is none, or nobody is chosen."""
    if not screen.live or not screen.asks:
        return None
    for number, speaker in enumerate(speakers[:9], start=1):
        screen.say(f"  {number}  {speaker}")
    answer = input("Whose persona? (number or name) > ").strip()
    if answer.isdigit() and 1 <= int(answer) <= len(speakers):
        return speakers[int(answer) - 1]
    return answer if answer in speakers else None
