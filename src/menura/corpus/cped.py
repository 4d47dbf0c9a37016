"""CPED's table becomes dialogues of television characters with gender and age (Chen et al., 2022).

``TV_ID,Dialogue_ID,Utterance_ID,Speaker,Gender,Age,…,Utterance``, a row an utterance. Dialogue ids begin with the
show's, so that sides can be parted by show.
"""

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from menura.corpus.dialogue import Dialogue, Profile, Turn, joined
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.source import DATA_SET, Source, opened
from menura.errors import Problem, shown

SHOW, TALK, SPEAKER, SAID = "TV_ID", "Dialogue_ID", "Speaker", "Utterance"
ATTRIBUTES = {"gender": "Gender", "age": "Age"}  # key of a profile -> column
NEEDED = (SHOW, TALK, SPEAKER, *ATTRIBUTES.values(), SAID)
UNKNOWN = "unknown"
OTHERS = "其他"  # "others": whoever is no character of the show, another person each time
COLUMNS_RECOGNISED = 4  # of those needed, when detecting the format


@dataclass(frozen=True)
class CsvRow:
    """One utterance with its place; ``cells`` are by column."""

    place: str
    cells: Mapping[str, str]


def read(path: Path) -> Iterator[Dialogue]:
    """Return the dialogues of a file, or raise one DataError with all that is wrong in it."""
    return strict(scan(opened(path, DATA_SET)), str(path))


def scan(source: Source) -> Iterator[Found]:
    """Yield every dialogue and every problem, dialogues in order of their first rows."""
    talks: dict[str, list[CsvRow]] = defaultdict(list)
    for row in _rows(source):
        if isinstance(row, Problem):
            yield row
        else:
            talks[_dialogue_id(row)].append(row)
    profiles, contradictions = _profiles(row for rows in talks.values() for row in rows)
    yield from (Problem("contradictory", told, source.name, level="warn") for told in contradictions)
    for name, rows in talks.items():
        yield from _draft(name, rows, profiles).found()


def looks_like(head: str) -> str:
    """Return why the start of a file is of this format, empty if it is not."""
    columns = head.split("\n", 1)[0].strip().split(",")
    return "a table with CPED's columns" if len({*NEEDED} & {*columns}) >= COLUMNS_RECOGNISED else ""


SHAPES = ((re.compile(rf"[^\n]*\b({'|'.join(NEEDED)})\b"), looks_like),)  # a first line that names a column


def _rows(source: Source) -> Iterator[CsvRow | Problem]:
    """Yield the rows below the first, which names the columns; one problem where the table cannot be read on."""
    line = 0

    def text() -> Iterator[str]:
        nonlocal line
        for numbered in source.lines():
            line, content = numbered
            yield content + "\n"

    table = csv.reader(text(), strict=True)
    try:
        columns = next(table, [])
        missing = [column for column in NEEDED if column not in columns]
        if missing:
            yield Problem("schema", f"no column {', '.join(missing)}", source.name, "give a file of CPED as published")
            return
        for cells in table:
            yield _row(columns, cells, source.place(line))
    except csv.Error as error:
        yield Problem("csv_syntax", f"not a readable table ({error})", source.place(line))


def _row(columns: list[str], cells: list[str], place: str) -> CsvRow | Problem:
    if len(cells) != len(columns):
        return Problem("schema", f"{len(cells)} cells, the first line names {len(columns)}", place)
    row = dict(zip(columns, (cell.strip() for cell in cells), strict=True))
    blank = [column for column in (TALK, SPEAKER) if not row[column]]
    if blank:
        return Problem("schema", f"{', '.join(blank)}: is empty", place)
    return CsvRow(place, row) if row[SAID] else Problem("empty_turn", "nothing said; left out", place, level="warn")


def _dialogue_id(row: CsvRow) -> str:
    show, talk = row.cells[SHOW], row.cells[TALK]
    return talk if talk.startswith(f"{show}_") else f"{show}_{talk}"


def _profiles(rows: Iterable[CsvRow]) -> tuple[dict[str, Profile], list[str]]:
    """Return what is known of each speaker by most of its rows, and a word on everybody of whom they say two things."""
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for row in rows:
        for key, column in ATTRIBUTES.items():
            if row.cells[column] not in ("", UNKNOWN) and row.cells[SPEAKER] != OTHERS:
                counts[row.cells[SPEAKER]][key][row.cells[column]] += 1
    contradictions = [
        f"{key} of {shown(speaker)} is {' and '.join(values)}; {values.most_common(1)[0][0]} taken, in most rows"
        for speaker, known in counts.items()
        for key, values in known.items()
        if len(values) > 1
    ]
    profiles: dict[str, Profile] = {
        speaker: {key: (values.most_common(1)[0][0],) for key, values in known.items()}
        for speaker, known in counts.items()
    }
    return profiles, contradictions


def _draft(name: str, rows: list[CsvRow], profiles: Mapping[str, Profile]) -> Draft:
    draft = Draft(name, rows[0].place)
    # A row is a subtitle: that several in a row are one speaker's is how the file is made and nothing to warn of.
    for turn in joined(tuple(Turn(row.cells[SPEAKER], row.cells[SAID]) for row in rows)):
        draft.say(turn, draft.place)
    speakers = dict.fromkeys(turn.speaker for turn in draft.turns)
    draft.profiles.update({speaker: profiles[speaker] for speaker in speakers if speaker in profiles})
    return draft
