"""A made-up corpus: people who each tell a different guest of what they do, written as JSONL in a moment."""

import json
import random
from collections.abc import Mapping
from pathlib import Path

TRADES = ("bake", "mend", "paint", "count", "carve", "sell", "wash", "draw", "lift", "sort")
THINGS = ("bread", "clocks", "boats", "stars", "spoons", "plums", "windows", "maps", "stones", "stamps")
QUESTIONS = ("what do you do?", "and today?", "is it hard?", "who taught you?", "do you like it?", "what is next?")

# Settings under which a training of tiny/… on this corpus takes part of a second a step.
QUICK = (
    "data.min_heldout_dialogues=4",
    "data.max_turns=4",
    "model.max_length=128",
    "outer.meta_batch_size=1",
    "outer.shots=2",
    "outer.queries=1",
    "outer.save_every=2",
    "outer.eval_every=4",
    "outer.eval_personas=1",
)


def name_of(person: int) -> str:
    """Return what a person is called."""
    return f"person-{person:02d}"


def dialogue(person: int, number: int, *, turns: int = 4) -> Mapping[str, object]:
    """Return one dialogue of a person with a guest of their own, drawn from who and which it is."""
    rng = random.Random(f"{person}:{number}")
    trade, thing = TRADES[person % len(TRADES)], THINGS[(person // 2) % len(THINGS)]
    said = []
    for turn in range(turns // 2):
        said.append({"speaker": f"guest-{person:02d}-{number}", "text": rng.choice(QUESTIONS)})
        said.append({"speaker": name_of(person), "text": f"i {trade} {rng.randrange(2, 40)} {thing}, part {turn}."})
    return {"dialogue_id": f"d-{person:02d}-{number}", "turns": said}


def write(path: Path, *, people: int = 20, dialogues: int = 6, turns: int = 4) -> Path:
    """Write a corpus of people with a few dialogues each, one after the other; return its path."""
    lines = [
        json.dumps(dialogue(person, number, turns=turns)) for person in range(people) for number in range(dialogues)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def settings(corpus: Path, *more: str) -> list[str]:
    """Return the ``--set`` words of a quick training on a corpus; later ones win."""
    return [word for pair in (f"data.corpus={corpus}", *QUICK, *more) for word in ("--set", pair)]
