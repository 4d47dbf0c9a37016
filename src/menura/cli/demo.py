"""``menura demo`` adapts real speakers and shows a table of scores."""

import time
from typing import Annotated

import typer

from menura import api
from menura.cli.chat import talk as chat
from menura.cli.globals import Globals
from menura.cli.terminal import Screen
from menura.errors import number_of


def demo(
    context: typer.Context,
    personas: Annotated[int, typer.Option(help="Held-out speakers in the table.", min=1)] = 12,
    talk: Annotated[bool, typer.Option(help="Go on to a chat where there is a terminal.")] = True,
) -> None:
    """Adapt real, held-out speakers from five dialogues each, show their replies, print the table."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    began = time.perf_counter()
    shown = api.demo(given.options, personas, screen.say)
    if given.dry_run:
        screen.say(f"would adapt {number_of(shown.speakers, 'speaker')}, then score {personas}")
        return
    screen.say(shown.introduction)
    agents: dict[str, api.Persona] = {}
    recalled: list[bool] = []
    for name, persona, example in shown.adapt(
        lambda name, step, steps, loss: screen.bar(f"adapt  {name}", step, steps, f"loss {loss:.2f}")
    ):
        agents[name] = persona
        screen.give("example", vars(example), example.as_text(name))
        for fact in shown.facts(len(agents), persona):
            screen.give("fact", {**vars(fact), "recalled": fact.recalled}, f"\n{fact.as_text(name)}")
            recalled.append(fact.recalled)
    screen.say(
        "facts  that speakers said of themselves, in the persona's reply and not in the base's, which never read them: "
        f"{sum(recalled)} of {len(recalled)}"
    )
    shots = shown.shots
    screen.say(
        f"table over {number_of(personas, 'held-out speaker')}, {number_of(shots, 'dialogue')} each, "
        "two others judged; about five minutes"
    )
    found = shown.table(list(agents.values()))
    screen.give("table", {"folder": str(shown.folder)}, f"\n{found.table()}")
    screen.say(f"{time.perf_counter() - began:.0f} s in all; files in {shown.folder}")
    screen.say('next   menura adapt me my_chat.txt --speaker "My name"   then   menura chat me')
    if talk and screen.live:
        first = next(iter(agents))
        screen.say(f"\nYou are talking to {first}; /quit leaves, /base lets the base answer too.")
        chat(screen, {first: agents[first]}, api.decoding(0.92, 0.8), seed=given.seed)
