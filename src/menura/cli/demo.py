"""``menura demo``: real people's dialogues become personas, and a table says whether it worked."""

import time
from functools import partial
from typing import Annotated

import typer

from menura.cli.globals import Globals, device_of
from menura.cli.screen import Screen

SHOWN = 3  # personas adapted before your eyes
SHOTS = 5


def demo(
    context: typer.Context,
    personas: Annotated[int, typer.Option(help="Held-out speakers in the table.", min=1)] = 12,
    talk: Annotated[bool, typer.Option(help="Go on to a chat where there is a terminal.")] = True,
) -> None:
    """Adapt real, held-out speakers from five dialogues each, show their replies, print the table."""
    from menura.api import Persona
    from menura.artefacts.files import home
    from menura.cli.chat import talk as chat
    from menura.decoding.choice import Nucleus
    from menura.evaluation.demo import Demonstration
    from menura.report import results

    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    began = time.perf_counter()
    shown = Demonstration.prepared(device=device_of(given), offline=given.offline, seed=given.seed, say=screen.say)
    if given.dry_run:
        screen.say(f"would adapt {SHOWN} speakers, then score {personas}")
        return
    screen.say(shown.introduction)
    agents = {}
    for number, task in enumerate(shown.held_out[:SHOWN], start=1):
        name = f"speaker-{number}"
        persona = shown.adapt(
            task,
            name,
            SHOTS,
            partial(_drawn, screen, f"adapt  {name}"),
        )
        agents[name] = Persona(shown.given.loaded, artefact=persona)
        example = shown.example(task, persona, SHOTS)
        screen.give("example", vars(example), example.as_text(name))
    screen.say(
        f"table over {personas} held-out speakers, {SHOTS} dialogues each, two others judged; about five minutes"
    )
    found = shown.table(personas, SHOTS, [agent.artefact for agent in agents.values()], screen.say)
    results.write(found, home() / "demo")
    screen.give("table", {"folder": str(home() / "demo")}, f"\n{results.table(found)}")
    screen.say(f"{time.perf_counter() - began:.0f} s in all; files in {home() / 'demo'}")
    screen.say('next   menura adapt me my_chat.txt --speaker "My name"   then   menura chat me')
    if talk and screen.live:
        first = next(iter(agents))
        screen.say(f"\nYou are talking to {first}; /quit leaves, /base lets the base answer too.")
        chat(screen, {first: agents[first]}, Nucleus(0.92, 0.8), seed=given.seed)


def _drawn(screen: Screen, label: str, step: int, steps: int, loss: float) -> None:
    screen.bar(label, step, steps, f"loss {loss:.2f}")
