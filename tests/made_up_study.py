"""Made-up results in the files that ``menura eval`` writes, and made-up votes."""

import csv
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from menura.artefacts.saved_samples import LIKELIHOODS, PREDICTIONS
from menura.metrics.score import Sample

TRADES = ("bake bread", "mend clocks", "paint boats", "carve spoons", "draw maps", "sell plums")
ROWS = ("un-adapted", "adapted, K=2")


def sample(person: int, dialogue: int, reply: str, *, facts: bool = True) -> Sample:
    """Return a reply to the second question of a dialogue of one person with a guest."""
    trade = TRADES[person % len(TRADES)]
    return Sample(
        f"persona-{person}",
        f"dialogue-{person}-{dialogue}",
        reply,
        f"i {trade} from dawn, for the {dialogue}. year now.",
        3.0,
        4,
        facts=(f"i {trade}.", "i live by the harbour.") if facts else (),
        speaker=f"persona-{person}",
        context=(
            (f"guest-{dialogue}", f"good day! what do you do, {dialogue} years on?"),
            (f"persona-{person}", f"i {trade}."),
            (f"guest-{dialogue}", "and is it hard?"),
        ),
    )


def reply_of(row: str, person: int, dialogue: int) -> str:
    """Return what a row says, unlike that of other rows and contexts."""
    words = "is hard" if row == ROWS[0] else f"i {TRADES[person % len(TRADES)]} gladly"
    return f"{words}, take {person}.{dialogue}"


def write_results(
    folder: Path,
    *,
    rows: Sequence[str] = ROWS,
    people: int = 3,
    dialogues: int = 2,
    facts: bool = True,
    reply: Callable[[str, int, int], str] = reply_of,
) -> Path:
    """Write the samples of an evaluation of some rows; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        {"row": row} | asdict(sample(person, dialogue, reply(row, person, dialogue), facts=facts))
        for row in rows
        for person in range(people)
        for dialogue in range(1, dialogues + 1)
    ]
    for name in (PREDICTIONS, LIKELIHOODS):
        (folder / name).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return folder


def rows_in(sheet: Path) -> list[list[str]]:
    """Return the rows of a sheet, the names of the columns first."""
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def write_rows(sheet: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a sheet."""
    with sheet.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def filled(sheet: Path, rater: str, vote: Callable[[str, str], str], out: Path | None = None) -> Path:
    """Fill in a sheet as a rater does; ``vote`` is given item and question. Return the file."""
    head, *cells = rows_in(sheet)
    rows = [dict(zip(head, row, strict=True)) for row in cells]
    texts = {"study", "item", "rater", "person", "dialogue", "dialogue A", "dialogue B"}
    for number, row in enumerate(rows):
        row["rater"] = "" if number else rater
        for question in row.keys() - texts:
            row[question] = vote(row["item"], question)
    path = out or sheet.parents[1] / "returned" / f"{sheet.stem}-{rater}.csv"
    path.parent.mkdir(exist_ok=True)
    write_rows(path, [head, *(list(row.values()) for row in rows)])
    return path


def random_votes(seed: int, answers: Sequence[str]) -> Callable[[str, str], str]:
    """Return votes that depend on item and question alone."""
    return lambda item, question: random.Random(f"{seed}:{item}:{question}").choice(answers)


def preferring(key: Mapping[str, object], system: str, *, but: float = 0.0, seed: int = 0) -> Callable[[str, str], str]:
    """Return votes for one system wherever it stands, but for a share of the items, which get any vote."""
    items = key["items"]
    assert isinstance(items, dict)

    def vote(item: str, question: str) -> str:
        stream = random.Random(f"{seed}:{item}:{question}")
        systems = items[item]["systems"]
        if stream.random() < but or system not in systems:
            return stream.choice("AB")
        return "AB"[systems.index(system)]

    return vote


def without_context(folder: Path) -> None:
    """Make results as an earlier version wrote them."""
    path = folder / PREDICTIONS
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        del line["context"], line["speaker"]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
