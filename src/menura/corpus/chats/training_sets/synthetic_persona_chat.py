"""Synthetic-Persona-Chat's table becomes dialogues of "User 1" and "User 2", each with a persona."""

import re
from collections.abc import Iterator

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes, Start
from menura.corpus.chats.table_rows import header_of, table_rows
from menura.corpus.chats.training_sets.json_turns import facts_of

LABELS = ("User 1", "User 2")
PERSONAS = ("user1personas", "user2personas")
CONVERSATION = "bestgeneratedconversation"
COLUMNS = "User 1 personas, User 2 personas, Best Generated Conversation"
SPOKEN = re.compile(r"\s*(User [12])\s*:(.*)", re.IGNORECASE | re.DOTALL)


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    found = header_of(head)
    is_it = found is not None and {*PERSONAS, CONVERSATION} <= set(found.cells)
    return 'a table with "Best Generated Conversation"' if is_it else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the lines of each conversation; one without a name goes on with the turn before."""
    notes.labels |= set(LABELS)
    found = header_of(file.head())
    if not found or not {*PERSONAS, CONVERSATION} <= set(found.cells):
        notes.wrong("schema", f"the header must have the columns {COLUMNS}", 1)
        return
    personas, column = [found.cells.index(cell) for cell in PERSONAS], found.cells.index(CONVERSATION)
    for line, cells in table_rows(file, notes, found):
        if len(cells) != len(found.cells):
            notes.wrong("schema", f"{len(cells)} cells, the header has {len(found.cells)}", line)
            continue
        facts = {label: facts_of(cells[index]) for label, index in zip(LABELS, personas, strict=True)}
        yield Start({label: lines for label, lines in facts.items() if lines})
        yield from _spoken(cells[column], line, notes)


def _spoken(conversation: str, line: int, notes: Notes) -> Iterator[Message]:
    now: Message | None = None
    for spoken in conversation.split("\n"):
        match = SPOKEN.fullmatch(spoken)
        if match:
            if now:
                yield now
            now = Message(match[1].capitalize(), match[2].strip(), line)
        elif now is None:
            notes.dropped["heading"] += bool(spoken.strip())
        else:
            now.text = f"{now.text}\n{spoken.strip()}"
    if now:
        yield now
