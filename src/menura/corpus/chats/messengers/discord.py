"""The JSON of DiscordChatExporter becomes messages; people are called as the chat shows them, by their nicknames."""

import re
from collections.abc import Iterator

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes
from menura.corpus.chats.messengers.export_rows import ExportRow
from menura.errors import shown

SAID = frozenset(["", "Default", "Reply", "0", "19"])
CALLS = frozenset(["Call", "3"])
MEDIA = ("attachments", "stickers", "embeds")
_start = re.compile(r"\A\s*\{").match
_exported = re.compile(r'"(?:guild|channel)"\s*:\s*\{').search
_package = re.compile(r'\s*(?:ID,Timestamp,Contents|\[\s*\{\s*"ID"\s*:\s*"?\d+"?,\s*"Timestamp")').match
_rows = re.compile(r'"messages"\s*:\s*\[').search


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    start = head.lstrip("\ufeff")
    found = _start(start) and _exported(start) and _rows(start)
    return "JSON of DiscordChatExporter" if found else ""


def nearly(head: str, name: str) -> tuple[str, str] | None:
    """Return what a file of Discord is that nobody can be answered in, and what to type about it; None for others."""
    if not _package(head[:2000]):
        return None
    return (
        "looks like what Discord itself sends of an account, which has one side's messages alone",
        "export the channel with DiscordChatExporter, format JSON",
    )


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the messages in the order of the file."""
    for number, (_, value) in enumerate(file.values("messages.item"), start=1):
        row = ExportRow(value, number, "messages[]", notes)
        if row.right:
            yield _message(row, notes)


def _message(row: ExportRow, notes: Notes) -> Message:
    kind = row.text("type")
    time = timestamp_parsing.read(row.text("timestamp"))
    if kind not in SAID:
        return Message("", "", row.number, time, "call" if kind in CALLS else "system")
    text = row.text("content")
    dropped = ""
    if row.has("forwardedMessage"):
        dropped = "forward"
    elif not text.strip() and row.has(*MEDIA):
        dropped = "sticker" if row.has("stickers") and not row.has("attachments") else "media"
    return Message(_speaker(row, notes), text, row.number, time, dropped)


def _speaker(row: ExportRow, notes: Notes) -> str:
    author = row.row("author")
    name = author.text("nickname") or author.text("name")
    if name.strip():
        return name
    known = author.text("id") or "somebody"
    notes.warn("unnamed_sender", f"an author without a name is called {shown(known)}", row.number)
    notes.labels.add(known)
    return known
