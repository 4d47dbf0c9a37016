"""A process that saves, replaces, renames and deletes its personas and notes what is done, until it is killed."""

import os
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from plain_persona import made_persona

from menura.artefacts import persona_store
from menura.artefacts.persona_artefact import PersonaArtefact

Step = tuple[str, str, str]  # what is done, to whom, and the new name or the fact
NAMED = 5


def names_of(writer: int) -> tuple[str, ...]:
    """Return the names that are one writer's alone."""
    return tuple(f"w{writer}p{number}" for number in range(NAMED))


def steps(seed: int, writer: int) -> Iterator[Step]:
    """Yield what is done, the same for the same numbers; nobody is renamed to a name in use, or while not there."""
    random_steps, there = random.Random(f"{seed} {writer}"), set[str]()
    for number in range(100_000):
        name, other = random_steps.sample(names_of(writer), 2)
        kind = random_steps.choice(("save", "save", "save", "replace", "rename", "delete"))
        if kind == "rename" and (name not in there or other in there):
            kind = "save"
        if kind in ("save", "replace"):
            there.add(name)
        else:
            there.discard(name)
        if kind == "rename":
            there.add(other)
        yield kind, name, other if kind == "rename" else f"fact {number}"


def persona(name: str, fact: str) -> PersonaArtefact:
    """Return a persona that is the same whatever it was called before."""
    return made_persona(name, facts=(fact,), recipe={"method": {"name": "finetune"}})


def do(step: Step) -> None:
    """Do one step; what is done is on the disk when this returns."""
    kind, name, what = step
    if kind in ("save", "replace"):
        persona_store.save(persona(name, what), replace_old=kind == "replace")
    elif kind == "rename":
        persona_store.rename(name, what)
    else:
        persona_store.remove(name)


def write(seed: int, writer: int, home: str, said: str) -> None:
    """Do one step after another, noting the number of each that is done."""
    os.environ["MENURA_HOME"] = home
    with Path(said).open("w", encoding="utf-8") as file:
        for number, step in enumerate(steps(seed, writer)):
            do(step)
            print(number, file=file, flush=True)


def print_steps(seed: int, count: int) -> None:
    """Do some steps of the first writer, with a line of output for each that is done."""
    for number, step in enumerate(islice(steps(seed, 0), count)):
        do(step)
        print(number, flush=True)
