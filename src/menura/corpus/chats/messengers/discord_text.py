"""The TXT and CSV of DiscordChatExporter become messages; people are called by their handles there."""

import csv
import re
from collections.abc import Iterator

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes
from menura.corpus.chats.messengers.message_lines import Growing, heading
from menura.errors import DataError

RULE = re.compile(r"={20,}\s*").fullmatch
HEAD = re.compile(r"(?:Guild|Channel|Topic|After|Before): ").match
STAMPED = re.compile(r"\[([^\[\]]{8,60})\] (\S.{0,200})").fullmatch
SECTION = re.compile(r"\{(Attachments|Embed|Stickers|Reactions|Forwarded Message)\}\s*").fullmatch
EXPORTED = re.compile(r"Exported [\d.,\s]+ message\(s\)").match
PINNED = re.compile(r" \(pinned\)\Z").sub
REASONS = {"Attachments": "media", "Embed": "media", "Stickers": "sticker", "Forwarded Message": "forward"}
COLUMNS = ["AuthorID", "Author", "Date", "Content", "Attachments", "Reactions"]


def looks_like(head: str, name: str) -> str:
    """Return why a file's start is the TXT's, else empty; ``name`` is the file's."""
    lines = head.lstrip("\ufeff").splitlines()[:4]
    found = len(lines) > 2 and RULE(lines[0]) and HEAD(lines[1]) and HEAD(lines[2])
    return "text of DiscordChatExporter" if found else ""


def looks_like_csv(head: str, name: str) -> str:
    """Return why a file's start is the CSV's, else empty; ``name`` is the file's."""
    first = head.lstrip("\ufeff").split("\n", 1)[0].strip().replace('"', "")
    return "CSV of DiscordChatExporter" if first.split(",")[:4] == COLUMNS[:4] else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the messages of the TXT: a blank line and a stamp with a name begin each."""
    now: Growing | None = None
    section = ""
    blank = True
    for number, line in file.lines():
        begun = _begun(line, number) if blank else None
        blank = not line.strip()
        if begun:
            if now:
                yield now.whole()
            now, section = Growing(begun, notes.place(number)), ""
        elif now is None:
            if not (blank or HEAD(line) or RULE(line)):
                heading(notes, number)
        elif now.last_is(RULE) and EXPORTED(line):
            now.take_back()
            section = "end"
        elif found := SECTION(line):
            section = found[1]
            now.without_text = REASONS.get(section, "")
        elif not section:
            now.add(line)
    if now:
        yield now.whole()


def _begun(line: str, number: int) -> Message | None:
    found = STAMPED(line)
    stamp = timestamp_parsing.read(found[1]) if found else None
    return Message(PINNED("", found[2]), "", number, stamp) if found and stamp else None


def messages_csv(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the messages of the CSV."""
    rows = csv.reader(f"{line}\n" for _, line in file.lines())
    try:
        columns = [column.strip('\ufeff "') for column in next(rows, [])]
        at = {column: columns.index(column) for column in COLUMNS if column in columns}
        if missing := [column for column in COLUMNS[1:4] if column not in at]:
            notes.wrong("schema", f"no column {', '.join(missing)} in the first line", 1)
            return
        for row in rows:
            if message := _of_row(row, at, rows.line_num, notes):
                yield message
    except csv.Error as error:
        hint = "export it again; a quotation mark may be missing"
        place = notes.place(rows.line_num)
        raise DataError(f"not valid CSV ({error})", code="csv", place=place, hint=hint) from error


def _of_row(row: list[str], at: dict[str, int], line: int, notes: Notes) -> Message | None:
    if not any(field.strip() for field in row):
        return None
    fields = {column: row[index] if index < len(row) else "" for column, index in at.items()}
    if len(row) <= at["Content"]:
        notes.wrong("schema", "a row has too few columns", line, hint="export it again")
        return None
    text, stamp = fields["Content"], timestamp_parsing.read(fields["Date"])
    dropped = "media" if not text.strip() and fields.get("Attachments") else ""
    return Message(fields["Author"], text, line, stamp, dropped)
