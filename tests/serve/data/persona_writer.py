"""A process that saves, renames and deletes personas and says what is done, until it is killed."""

import random
import sys
from collections.abc import Iterator

from data_app import written_persona

from menura.artefacts import persona_store

Step = tuple[str, str, str]  # what is done, to whom, and the new name or the fact
NAMES = tuple(f"p{number}" for number in range(6))


def steps(seed: int) -> Iterator[Step]:
    """Yield what is done, the same for the same seed; nobody is renamed to a name in use, or while not there."""
    random_steps, there = random.Random(seed), set[str]()
    for number in range(100_000):
        name, other = random_steps.sample(NAMES, 2)
        kind = random_steps.choice(("save", "save", "save", "rename", "delete"))
        if kind == "rename" and (name not in there or other in there):
            kind = "save"
        if kind == "save":
            there.add(name)
        else:
            there.discard(name)
        if kind == "rename":
            there.add(other)
        yield kind, name, other if kind == "rename" else f"fact {number}"


def main(seed: int) -> None:
    print("ready", flush=True)
    for number, (kind, name, what) in enumerate(steps(seed)):
        if kind == "save":
            written_persona(name, facts=(what,))
        elif kind == "rename":
            persona_store.rename(name, what)
        else:
            persona_store.remove(name)
        print(number, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
