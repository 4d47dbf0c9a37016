"""Messenger's and Instagram's ``message_1.json`` becomes messages, the oldest first; the files have the newest first.

The wrong letters of these exports (``Ã©`` for ``é``) are mended by what reads all chats.
"""

import re
from collections.abc import Iterator

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes, Stamp
from menura.corpus.chats.messengers.export_rows import ExportRow, bounded
from menura.errors import shown

MEDIA = ("photos", "videos", "audio_files", "files", "gifs", "share", "media", "bumped_message_metadata")
SECONDS_FROM = 1e11  # a time below it is in seconds, not in milliseconds
_start = re.compile(r"\A\s*\{").match
_participants = re.compile(r'"participants"\s*:\s*\[').search
_sender = re.compile(r'"(?:sender_name|senderName|timestamp_ms)"\s*:').search
_rows = re.compile(r'"messages"\s*:\s*\[').search

# What stands in place of text; names in it are the sender's own, or that of the one who is spoken to.
_SOMEBODY = r"(?:You|\S.{0,80})"
_SENT = r"(?:an attachment|a (?:photo|video|link|sticker|GIF|voice message|live location|reel)|\d+ photos)"
_RANG = (
    r"called (?:you|\S.{0,80})|missed (?:a|your) (?:video )?call.{0,80}|started a (?:video|audio) (?:call|chat)"
    r"|joined the (?:video )?call"
)
_REACTED = rf"Reacted .{{1,40}} to your message|Liked a message|{_SOMEBODY} liked a message"
_reaction = re.compile(rf"(?:{_REACTED})\.?\s*").fullmatch
_attachment = re.compile(rf"{_SOMEBODY} sent {_SENT}\.\s*").fullmatch
_call = re.compile(rf"(?:{_SOMEBODY} (?:{_RANG})|The (?:video )?(?:call|chat) ended)\.?\s*").fullmatch
_unsent = re.compile(rf"{_SOMEBODY} unsent a message\.?\s*").fullmatch
TEMPLATES = ((_reaction, "reaction"), (_attachment, "media"), (_call, "call"), (_unsent, "deleted"))
TYPES = {"Call": "call", "Subscribe": "system", "Unsubscribe": "system", "Unsent": "deleted", "unsent": "deleted"}


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    start = head.lstrip("\ufeff")
    if not (_start(start) and _rows(start)):
        return ""
    return "JSON of Messenger or Instagram" if _participants(start) or _sender(start) else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the messages, the oldest first; they lie in memory, and DataError is raised where they are too many."""
    rows = (
        ExportRow(value, number, "messages[]", notes)
        for number, (_, value) in enumerate(file.values("messages.item"), 1)
    )
    timed = bounded((_message(row, notes) for row in rows if row.right), file.name)
    moments = [(*message.time.date, message.time.seconds) for message in timed if message.time]
    if len(moments) < 2 or moments[0] >= moments[-1]:
        timed.reverse()
    yield from timed


def _message(row: ExportRow, notes: Notes) -> Message:
    text = row.text("content") or row.text("text")
    return Message(_speaker(row, notes), text, row.number, _time(row), _dropped(row, text))


def _dropped(row: ExportRow, text: str) -> str:
    """Return why the message is no text of its sender, as the fields and the texts of the messenger's own tell it."""
    if row.has("is_unsent", "isUnsent"):
        return "deleted"
    if "call_duration" in row.fields:
        return "call"
    if reason := TYPES.get(row.text("type"), ""):
        return reason
    for matches, reason in TEMPLATES:
        if matches(text):
            return reason
    if text.strip():
        return ""
    if row.has("sticker"):
        return "sticker"
    return "media" if row.has(*MEDIA) else ""


def _speaker(row: ExportRow, notes: Notes) -> str:
    name = row.text("sender_name") or row.text("senderName")
    if not name.strip():
        name = "somebody"
        said = f"a sender without a name, such as a deleted account, is called {shown(name)}"
        notes.warn("unnamed_sender", said, row.number)
        notes.labels.add(name)
    return name


def _time(row: ExportRow) -> Stamp | None:
    number = row.number_of("timestamp_ms" if "timestamp_ms" in row.fields else "timestamp")
    if number is None:
        return None
    return timestamp_parsing.of_epoch(number / 1000 if abs(number) >= SECONDS_FROM else number)
