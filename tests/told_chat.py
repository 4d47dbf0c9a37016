"""The made-up corpus again, with profiles of everybody in it, and small runs of models that read them."""

import json
from pathlib import Path

from made_up_chat import THINGS, TRADES, settings, write

from menura.cli.main import run

RUNS = ("data.with_facts=no", "outer.steps=2", "outer.eval_every=2", "model.hidden_size=16", "model.num_heads=2")


def person_of(speaker: str) -> int:
    """Return which person a name, or that of one's guest, belongs to."""
    return int(speaker.split("-")[1])


def profile_of(speaker: str) -> dict[str, object]:
    """Return what is told of a speaker: a trade and two things, of a guest only the trade."""
    person = person_of(speaker)
    told: dict[str, object] = {"trade": TRADES[person % len(TRADES)]}
    return told if speaker.startswith("guest") else {**told, "thing": [THINGS[person % len(THINGS)], "tea"]}


def write_told(path: Path, *, people: int = 12, dialogues: int = 6) -> Path:
    """Write the corpus with profiles; return its path."""
    lines = []
    for line in write(path, people=people, dialogues=dialogues).read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        speakers = {turn["speaker"] for turn in record["turns"]}
        record["profile"] = {speaker: profile_of(speaker) for speaker in sorted(speakers)}
        lines.append(json.dumps(record))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def trained(folder: Path, corpus: Path, recipe: str) -> Path:
    """Train two steps of an arplus recipe at its tiny size; return the run's folder."""
    words = ["train", recipe, "--size", "tiny", "--out", str(folder), *settings(corpus, *RUNS)]
    assert run(words) == 0, words
    return folder
