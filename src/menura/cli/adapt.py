"""``menura adapt NAME FILES``."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from menura.cli.globals import Globals, configured, device_of
from menura.cli.screen import Screen

if TYPE_CHECKING:
    from menura.adaptation.catalogue import Method
    from menura.personas.adapt_persona import Check


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
    from menura import api
    from menura.artefacts import persona_store
    from menura.corpus import catalogue

    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    persona_store.path_of(name)  # a bad name is told before anything takes time
    dialogues = catalogue.read(files, format)
    task = api.task_of(dialogues, speaker)
    speaker = task.persona.persona_id
    api.check_shots(task, shots)
    # A bad setting is told before the model is loaded, where that is not needed to know the method.
    way: Method | None = None if method else configured(api.usual_method(base), given)
    if given.dry_run:
        screen.say(f"would adapt {name!r} from {shots} of {len(task.dialogues)} dialogues of {speaker}")
        return
    model = api.load(base, device=device_of(given), offline=given.offline)
    way = way or configured(api.method_on(model, base, method), given)
    way.attach(model.loaded.model)
    model = replace(model, method=way)
    screen.say(f"plan   base {model.loaded.base.name} · {shots} of {len(task.dialogues)} dialogues of {speaker}")
    began = time.perf_counter()
    persona = model.adapt(
        dialogues,
        speaker=speaker,
        k=shots,
        name=name,
        watch=lambda step, steps, loss: screen.bar("adapt", step, steps, f"loss {loss:.2f}"),
    )
    path = persona_store.save(persona.artefact)
    screen.say(verdict(persona.check, time.perf_counter() - began))
    facts = {
        "name": name,
        "path": str(path),
        "bytes": path.stat().st_size,
        "held_out": persona.artefact.recipe["held_out"],
    }
    screen.give("done", facts, f"wrote  {path} ({path.stat().st_size / 1024:,.0f} KiB)\ntry    menura chat {name}")


def verdict(check: "Check | None", seconds: float) -> str:
    """Say how the held-out dialogues fared, with a warning where adapting did harm."""
    if check is None or not check.dialogues:
        return f"check  no dialogue was held out, so whether it helped is not known ({seconds:.1f} s)"
    change = (
        f"check  {check.dialogues} held-out dialogues: PPL {check.before:.1f} -> {check.after:.1f} ({seconds:.1f} s)"
    )
    if check.worse:
        hint = "hint: more dialogues, or a smaller --set inner.lr=3e-4"
        return f"{change}\nwarn[worse_than_base]: adapting made the held-out dialogues less likely ({hint})"
    return change
