"""A table in text becomes rows of cells: a header first, any usual delimiter, line breaks in quotation marks."""

import csv
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Notes

DELIMITERS = (",", ";", "\t", "|")
LINE_END = re.compile(r"\r\n|\r|\n")
SEPARATOR = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # a first line that Excel writes and understands
RULE = re.compile(r"\s*(?::?-+:?)?\s*")  # a cell of the line below a header in Markdown
QUOTED_CELL = re.compile(r'(?:^|\t)"[^"\n]*"(?=[\t\r\n]|\Z)', re.MULTILINE)
HEADER_LIMIT = 4096  # characters


@dataclass(frozen=True)
class Header:
    """The names of the columns, without blanks, marks, accents and capitals; rows begin after so many ``lines``.

    ``quoted`` tells that quotation marks stand around cells, ``spaced`` that a blank may stand before them.
    """

    cells: tuple[str, ...]
    delimiter: str
    lines: int
    quoted: bool
    spaced: bool


@lru_cache(maxsize=8)  # every kind of table asks about the same head
def header_of(head: str) -> Header | None:
    """Return the header of a table, None where the first line has one cell alone."""
    delimiters: tuple[str, ...] = DELIMITERS
    for index, line in enumerate(LINE_END.split(head), start=1):
        separator = SEPARATOR.fullmatch(line)
        if separator and delimiters is DELIMITERS:
            delimiters = (separator[1],) if separator[1] in DELIMITERS else DELIMITERS
        elif line.strip():
            if len(line) > HEADER_LIMIT:
                return None
            delimiter = max(delimiters, key=line.count)
            cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
            # Tabs rarely stand in texts, so that most such tables have no quotation marks around cells.
            quoted = delimiter != "\t" or bool(QUOTED_CELL.search(head))
            names, spaced = tuple(map(folded, cells)), f'{delimiter} "' in head
            return Header(names, delimiter, index, quoted, spaced) if len(cells) > 1 else None
    return None


def folded(cell: str) -> str:
    """Return a column's name in small letters, without blanks, marks and accents."""
    return "".join(c for c in unicodedata.normalize("NFD", cell.casefold()) if c.isalnum())


def table_rows(file: ChatFile, notes: Notes, header: Header) -> Iterator[tuple[int, list[str]]]:
    """Yield (line, cells) of every row below the header; blank rows and repeated headers are left out."""
    lines = _Lines(file.lines(), header.lines)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if header.quoted else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=header.delimiter, skipinitialspace=header.spaced, quoting=quoting)
    hint = "put texts that hold the delimiter or line breaks into quotation marks, and double the marks in them"
    while True:
        start = lines.number + 1
        lines.marks = 0
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            notes.wrong("table", f"row cannot be read, nor what follows ({error})", start, hint=hint)
            return
        if header.quoted and lines.ended and lines.number > start and lines.marks % 2:
            notes.wrong("table", "quotation mark that is never closed", start, hint=hint)
            return
        if not any(cell.strip() for cell in cells) or (header.delimiter == "|" and all(map(RULE.fullmatch, cells))):
            continue
        if tuple(map(folded, cells)) == header.cells:
            notes.dropped["heading"] += 1
            continue
        yield start, cells


class _Lines:
    """Lines as the csv module wants them; ``number`` is that of the last one given, ``marks`` its quotation marks."""

    def __init__(self, lines: Iterator[tuple[int, str]], skipped: int) -> None:
        self._lines, self._skipped = lines, skipped
        self.number = self.marks = 0
        self.ended = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        for number, line in self._lines:
            self.number = number
            if number > self._skipped:
                self.marks += line.count('"')
                return f"{line}\n"
        self.ended = True
        raise StopIteration
