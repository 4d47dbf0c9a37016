"""A study becomes sheets for a spreadsheet, one a part, and a guide for raters."""

import csv
import io
from collections.abc import Iterator

from menura.annotation import presentation
from menura.annotation.protocols import Protocol, StudyPart
from menura.annotation.study import Item, Study

STUDY, ITEM, RATER = "study", "item", "rater"
BOM = "\ufeff"  # without it, Excel reads no UTF-8
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is a formula to a spreadsheet


def sheets(study: Study) -> dict[str, str]:
    """Return the texts of the sheets by file name."""
    parts = study.protocol.parts
    names = ["sheet.csv"] if len(parts) == 1 else [f"sheet-{n}-{part.name}.csv" for n, part in enumerate(parts, 1)]
    return {name: _sheet(study, part) for name, part in zip(names, parts, strict=True)}


def guide(protocol: Protocol) -> str:
    """Return what raters must know to fill in a sheet."""
    lines = [
        "How to fill in a sheet",
        "",
        "1. Write your name, or any word that is yours alone, in the column 'rater' of the first row.",
        "2. Read the whole dialogue of a row. Judge one speaker only: the one called Speaker.",
        "3. Write one of the answers below into each of the columns to the right. Leave none empty.",
        "4. Save as CSV. Change no other column. The order of the rows does not matter.",
    ]
    for number, part in enumerate(protocol.parts, start=1):
        if len(protocol.parts) > 1:
            lines += ["", f"Part {number}. Finish it before you open the next."]
        for question in part.questions:
            lines += ["", f"{question.name}: {question.text}"]
            lines += [f"  {answer.value}  {answer.text}" for answer in question.answers]
    return "\n".join(lines) + "\n"


def _sheet(study: Study, part: StudyPart) -> str:
    file = io.StringIO()
    writer = csv.writer(file)
    questions = [question.name for question in part.questions]
    writer.writerow([STUDY, ITEM, RATER, *_columns(study.protocol, part), *questions])
    for item in study.parts[part.name]:
        cells = [as_text(text) for text in _cells(item, part)]
        writer.writerow([study.key.study, item.name, "", *cells, *[""] * len(questions)])
    return BOM + file.getvalue()


def _columns(protocol: Protocol, part: StudyPart) -> list[str]:
    dialogues = ["dialogue A", "dialogue B"] if protocol.pairs else ["dialogue"]
    return [*(["person"] if part.shows_person else []), *dialogues]


def _cells(item: Item, part: StudyPart) -> Iterator[str]:
    if part.shows_person:
        yield "\n".join(presentation.person(item))
    for side in presentation.sides(item):
        yield side.text


def as_text(cell: str) -> str:
    """Return a cell that no spreadsheet runs as a formula, whatever a model or a person wrote."""
    text = cell.encode("utf-8", "replace").decode()  # half of a surrogate pair can be in no file
    return f"'{text}" if text.startswith(_FORMULA) else text
