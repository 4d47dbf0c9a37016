"""Filled-in sheets, files of the page and of Potato become votes, or one error with all that is wrong in them."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from menura.annotation import potato
from menura.annotation.protocols import Question
from menura.annotation.sheet import ITEM, RATER, STUDY
from menura.annotation.study import Key
from menura.corpus.atomic_files import reporting
from menura.errors import DataError, Problem, number_of, shown

NAMED_AT_MOST = 8  # items without a row that one line names


@dataclass(frozen=True)
class SheetRow:
    """One row of a sheet, or one item of another file: what stands in the columns of questions, by question."""

    place: str
    study: str
    item: str
    rater: str
    answers: Mapping[str, str]


Ballot = tuple[str, str, str]  # rater, item, question


@dataclass
class Votes:
    """Each vote by rater, item and question; ``missing`` counts those that are not there."""

    by_ballot: dict[Ballot, str] = field(default_factory=dict)
    missing: int = 0

    @property
    def raters(self) -> list[str]:
        """Who voted."""
        return sorted({rater for rater, _, _ in self.by_ballot})

    def of(self, item: str, question: str) -> list[str]:
        """Return an item's votes, one a rater, in the order of the raters."""
        given = (self.by_ballot.get((rater, item, question)) for rater in self.raters)
        return [vote for vote in given if vote is not None]


def read(files: Sequence[Path], key: Key, *, partial: bool = False) -> Votes:
    """Return the votes of all files; with ``partial``, votes may be missing and are counted.

    Raises DataError with every vote that is missing, stands twice, is none of the answers or is about no item of the
    key, named by row and rater; and with every file that is no sheet of this study.
    """
    problems: list[Problem] = []
    rows: list[SheetRow] = []
    for file in files:
        try:
            rows += _of_this_study(file, list(_rows(file, key)), key)
        except DataError as error:
            problems += error.problems
    reading = _Reading(key, partial=partial)
    for row in rows:
        reading.add(row)
    if not problems:  # or what is missing may stand in a file that could not be read
        reading.look_for_missing()
    problems += reading.problems
    if problems:
        raise DataError.of(problems)
    return reading.votes


def _rows(file: Path, key: Key) -> Iterator[SheetRow]:
    if file.name == potato.STATE_NAME:
        for study, item, rater, answers in potato.read(file):
            yield SheetRow(str(file), study, item, rater, answers)
    else:
        yield from _sheet_rows(file, key)


def _sheet_rows(file: Path, key: Key) -> Iterator[SheetRow]:
    """Yield the rows of a sheet as a spreadsheet may have saved it: commas, semicolons or tabs, any column order."""
    with reporting(file):
        # What a spreadsheet writes in another encoding are the texts, which are not read.
        text = file.read_bytes().decode("utf-8-sig", "replace")
    head = text.split("\n", 1)[0]
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=False)
    columns = [(name or "").strip() for name in reader.fieldnames or ()]
    reader.fieldnames = columns
    asked = [question.name for question in key.protocol.questions if question.name in columns]
    if not {STUDY, ITEM} <= set(columns) or not asked:
        wanted = f"{STUDY}, {ITEM}, {RATER} and {' or '.join(q.name for q in key.protocol.questions)}"
        raise DataError(
            f"no sheet of a {key.protocol.name} study: the columns are {shown(', '.join(columns))}, wanted {wanted}",
            place=str(file),
            hint="give the files that raters sent back, as CSV",
            code="no_sheet",
        )
    try:
        cells = [{name: _text(row.get(name)) for name in columns} for row in reader]
    except csv.Error as error:
        raise DataError(f"not CSV ({error})", place=str(file), code="no_sheet") from error
    cells = [row | {"": str(number)} for number, row in enumerate(cells, start=2) if any(row.values())]
    named = {row.get(RATER, "") for row in cells} - {""}
    # A name in one row is the whole sheet's; in a sheet without a name, it is the file's.
    usual = named.pop() if len(named) == 1 else "" if named else file.stem
    for row in cells:
        answers = {name: row[name] for name in asked}
        yield SheetRow(f"{file}, row {row['']}", row[STUDY], row[ITEM], row.get(RATER) or usual, answers)


def _text(cell: object) -> str:
    return cell.strip() if isinstance(cell, str) else ""


def _of_this_study(file: Path, rows: Sequence[SheetRow], key: Key) -> Sequence[SheetRow]:
    """Return the rows; DataError where the file belongs to another study."""
    if not rows:
        raise DataError("no row in it", place=str(file), code="no_sheet", hint="give the files that raters sent back")
    others = sorted({row.study for row in rows} - {key.study})
    if others:
        raise DataError(
            f"a sheet of study {', '.join(map(shown, others))}, and the key is of study {shown(key.study)}",
            place=str(file),
            hint="--key FILE with the key.json written beside that sheet",
            code="other_study",
        )
    return rows


class _Reading:
    """Votes as they come, and all that is wrong with them."""

    def __init__(self, key: Key, *, partial: bool) -> None:
        self.votes = Votes()
        self.problems: list[Problem] = []
        self._key = key
        self._partial = partial
        self._questions = {question.name: question for question in key.protocol.questions}
        self._places: dict[Ballot, str] = {}
        self._without_answer: set[Ballot] = set()

    def add(self, row: SheetRow) -> None:
        """Take the votes of one row."""
        if not row.rater:
            self._wrong("no_rater", f"{_item(row.item)}: no rater, and the file has several", row.place)
        elif row.item not in self._key.items:
            self._wrong("unknown_item", f"{_item(row.item)}, rater {row.rater}: no such item in the key", row.place)
        else:
            for name, answer in row.answers.items():
                self._vote(row, self._questions[name], answer)

    def look_for_missing(self) -> None:
        """Count every vote that no row has; name it, unless votes may be missing."""
        raters = sorted({rater for rater, _, _ in self._places} | {rater for rater, _, _ in self._without_answer})
        absent: dict[tuple[str, str], list[str]] = defaultdict(list)
        for rater in raters:
            for question in self._questions:
                for item in self._key.items:
                    ballot = rater, item, question
                    if ballot not in self._places:
                        self.votes.missing += 1
                        if ballot not in self._without_answer:
                            absent[rater, question].append(item)
        for (rater, question), items in absent.items() if not self._partial else ():
            more = f" and {len(items) - NAMED_AT_MOST} more" if len(items) > NAMED_AT_MOST else ""
            listed = ", ".join(items[:NAMED_AT_MOST])
            self._wrong(
                "missing_vote",
                f"rater {rater}, {question}: no row for {number_of(len(items), 'item')}, {listed}{more}",
                "",
            )

    def _vote(self, row: SheetRow, question: Question, answer: str) -> None:
        ballot = row.rater, row.item, question.name
        about = f"{_item(row.item)}, rater {row.rater}, {question.name}"
        vote = _vote_of(answer, question)
        if not answer:
            self._without_answer.add(ballot)
            if not self._partial:
                self._wrong("missing_vote", f"{about}: no vote", row.place)
        elif ballot in self._places:
            self._wrong("double_vote", f"{about}: a second vote; the first is in {self._places[ballot]}", row.place)
        else:
            self._places[ballot] = row.place
            if vote is None:
                wanted = ", ".join(question.values)
                self._wrong("unknown_vote", f"{about}: {shown(answer)} is none of {wanted}", row.place)
            else:
                self.votes.by_ballot[ballot] = vote

    def _wrong(self, code: str, message: str, place: str) -> None:
        hints = {
            "missing_vote": "--partial scores what is there",
            "double_vote": "give each rater's file once, and take one of the two out",
        }
        self.problems.append(Problem(code, message, place, hints.get(code, "")))


def _item(name: str) -> str:
    return f"item {shown(name)}"


def _vote_of(answer: str, question: Question) -> str | None:
    """Return the value that an answer is, as it may be typed or as a spreadsheet may have changed it."""
    plain = answer.strip().casefold()
    plain = plain.removesuffix(".0").removesuffix(",0")
    return next((value for value in question.values if value.casefold() == plain), None)
