"""A made-up corpus, on which size tiny runs every row of every experiment: no data set, no download, seconds a row."""

import json
import random
from pathlib import Path

from menura.artefacts.files import write_text
from menura.artefacts.runs import runs_folder

PEOPLE, DIALOGUES, TURNS = 24, 12, 6  # so many that ten dialogues adapt and one is left to be scored
TRADES = ("bake", "mend", "paint", "count", "carve", "sell", "wash", "draw")
THINGS = ("bread", "clocks", "boats", "stars", "spoons", "plums")
QUESTIONS = ("what do you do?", "and today?", "is it hard?", "who taught you?", "do you like it?", "what is next?")


def made_up_corpus() -> Path:
    """Return the file of the corpus, in the folder of runs, written if it is not there: the same on every machine."""
    path = runs_folder() / "made-up.jsonl"
    if not path.exists():
        lines = (_dialogue(person, number) for person in range(PEOPLE) for number in range(DIALOGUES))
        write_text(path, "".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def _dialogue(person: int, number: int) -> dict[str, object]:
    """Return a dialogue of a person, who has a trade, two facts and a profile, with a guest."""
    rng = random.Random(f"{person}:{number}")
    name, guest = f"person-{person:02d}", f"guest-{person:02d}-{number:02d}"
    trade, thing = TRADES[person % len(TRADES)], THINGS[person // 2 % len(THINGS)]
    said = []
    for turn in range(TURNS // 2):
        said.append({"speaker": guest, "text": rng.choice(QUESTIONS)})
        said.append({"speaker": name, "text": f"i {trade} {rng.randrange(2, 40)} {thing} , part {turn} ."})
    return {
        "dialogue_id": f"d-{person:02d}-{number:02d}",
        "turns": said,
        "facts": {name: [f"i {trade} {thing} .", f"i have {person} friends ."]},
        "profile": {name: {"gender": ("female", "male")[person % 2], "interest": [thing, trade]}},
    }
