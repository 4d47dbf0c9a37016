"""Slack's files of one day become messages; people are called by ``users.json`` of the export, else by their ids."""

import re
from collections.abc import Iterator
from operator import attrgetter

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes
from menura.corpus.chats.messengers.export_rows import ExportRow, bounded
from menura.errors import DataError, shown

USERS = "users.json"
ID = re.compile(r"[UWB][A-Z0-9]{1,20}")
# Rows that nobody wrote, where they are more than a line of the system.
OTHERS = {
    "channel_join": "system (join)",
    "group_join": "system (join)",
    "huddle_thread": "call",
    "tombstone": "deleted",
}
# Subtypes of messages that people and their programs write.
SAID = frozenset(["", "thread_broadcast", "me_message", "file_share", "file_comment", "bot_message", "reply_broadcast"])
_head = re.compile(r"\A\s*\[\s*(?:\{|\])").match
_type = re.compile(r'"type"\s*:\s*"message"').search
_ts = re.compile(r'"ts"\s*:\s*"?\d{6,}').search
_mention = re.compile(r"<@([UWB][A-Z0-9]{1,20})(?:\|([^<>|\n]{1,80}))?>").sub
_link = re.compile(r"<((?:https?|mailto|tel):[^<>|\s]{1,2000})(?:\|([^<>|\n]{1,500}))?>").sub
_place = re.compile(r"<(?:#[CG][A-Z0-9]{1,20}|!(?:subteam\^[A-Z0-9]{1,20}|[a-z]{1,20}))(?:\|([^<>|\n]{1,80}))?>").sub


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    start = head.lstrip("\ufeff")
    return "JSON array of Slack messages" if _head(start) and _type(start) and _ts(start) else ""


def nearly(head: str, name: str) -> tuple[str, str] | None:
    """Return what a file is that belongs to an export of Slack and holds no messages; None for others."""
    start = head.lstrip("\ufeff")
    if _head(start) and '"team_id"' in start and '"real_name"' in start:
        return "looks like users.json of a Slack export", "give a channel's folder or one of its days: 2023-12-01.json"
    if _head(start) and '"creator"' in start and '"members"' in start:
        return "looks like a list of channels of a Slack export", "give a channel's folder or one of its days"
    return None


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the messages of a day in the order of their times, those in threads among the others."""
    names = _names(file, notes)
    rows = (_message(ExportRow(value, number, "[]", notes), names, notes) for number, (_, value) in _numbered(file))
    collected = bounded((message for message in rows if message), file.name)
    if all(message.time for message in collected):
        # Epoch times are dates in the order year, month, day, so that they compare as they stand.
        collected.sort(key=attrgetter("time.date", "time.seconds"))
    yield from collected


def _numbered(file: ChatFile) -> "Iterator[tuple[int, tuple[str, object]]]":
    return enumerate(file.values("item"), start=1)


def _names(file: ChatFile, notes: Notes) -> dict[str, str]:
    """Return the names of people by their ids, of the export's users.json where it lies beside the file."""
    beside = file.beside(USERS)
    if beside is None:
        return {}
    names: dict[str, str] = {}
    try:
        for number, (_, value) in enumerate(beside.values("item"), start=1):
            row = ExportRow(value, number, f"{USERS}: []", notes)
            profile = row.row("profile")
            name = (
                profile.text("display_name") or profile.text("real_name") or row.text("real_name") or row.text("name")
            )
            if name and (user := row.text("id")):
                names[user] = name
    except DataError as error:
        notes.warn("unnamed_id", f"{USERS} beside the file cannot be read: {error.problems[0].message}")
    return names


def _message(row: ExportRow, names: dict[str, str], notes: Notes) -> Message | None:
    if not row.right:
        return None
    subtype = row.text("subtype")
    seconds = row.number_of("ts")
    time = None if seconds is None else timestamp_parsing.of_epoch(seconds)
    if row.text("type") != "message" or subtype not in SAID:
        return Message("", "", row.number, time, OTHERS.get(subtype, "system"))
    text = _readable(row.text("text"), names)
    dropped = "media" if not text.strip() and row.has("files", "file", "attachments", "blocks") else ""
    return Message(_speaker(row, names, notes), text, row.number, time, dropped)


def _speaker(row: ExportRow, names: dict[str, str], notes: Notes) -> str:
    user = row.text("user")
    profile = row.row("user_profile")
    name = names.get(user) or profile.text("display_name") or profile.text("real_name")
    if not name and (not user or row.has("bot_id")):
        name = row.text("username") or row.row("bot_profile").text("name")
    if name:
        return name
    known = user or row.text("bot_id")
    if known:
        said = f"{shown(known)} stands for somebody, without a name in the file"
        notes.warn("unnamed_id", said, row.number, hint=f"put {USERS} of the export beside the file")
        notes.labels.add(known)
    return known


def _readable(text: str, names: dict[str, str]) -> str:
    """Return a text with mentions and links as people see them."""
    if "<" not in text:
        return text

    def mention(found: re.Match[str]) -> str:
        name = names.get(found[1]) or found[2]
        return f"@{name}" if name else found[0]

    text = _mention(mention, text)
    text = _link(lambda found: found[2] or found[1].removeprefix("mailto:"), text)
    return _place(lambda found: found[1] or found[0], text)
