"""Telegram's ``result.json`` becomes messages: the export of one chat, or of all chats of an account.

What a service row tells nobody said. A sender without a name, such as a deleted account, is called by the id.
"""

import re
from collections.abc import Iterator
from typing import Any

from menura.corpus.chats import timestamp_parsing
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.message import Event, Message, Notes, Stamp, Start
from menura.corpus.chats.messengers.export_rows import ExportRow
from menura.errors import shown

CALLS = frozenset(["phone_call", "group_call", "conference_call", "group_call_scheduled", "invite_to_group_call"])
_MEDIA = (
    "photo file media_type sticker_emoji location_information contact_information poll todo_list game_title "
    "invoice_information place_name paid_media giveaway_information story"
)
MEDIA = _MEDIA.split()
_KINDS = "personal_chat|bot_chat|saved_messages|replies|verify_codes|(?:private|public)_(?:group|supergroup|channel)"
_chat = re.compile(rf'"type"\s*:\s*"(?:{_KINDS})"').search
_account = re.compile(r'\A\s*\{\s*"about"\s*:\s*"Here is the data you requested').match
_rows = re.compile(r'"messages"\s*:\s*\[').search
_sender = re.compile(r'"from_id"\s*:\s*(?:"(?:user|channel|chat)\d|\d)').search

ONE, LIST, LEFT = "messages.item", "chats.list.item", "left_chats.list.item"
HEADS = ("name", "type", "id")


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    if not head.lstrip("\ufeff \t\r\n").startswith("{"):
        return ""
    if _account(head.lstrip("\ufeff")):
        return "JSON export of a Telegram account"
    return "JSON export of a Telegram chat" if _rows(head) and (_chat(head) or _sender(head)) else ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the messages of all chats in the file, a start before each chat of an account."""
    prefixes = [*HEADS, ONE]
    prefixes += [f"{chats}.{key}" for chats in (LIST, LEFT) for key in (*HEADS, ONE)]
    chat: dict[str, Any] = {}
    number = met = 0
    for prefix, value in file.values(*prefixes):
        key = prefix.rpartition(".")[2]
        if key != "item":
            if met or key in chat:
                chat, met = {}, 0
            chat[key] = value
            continue
        if not met and prefix != ONE:
            yield Start()
        if not met and prefix == ONE:
            _own(chat, notes)
        met += 1
        number += 1
        message = _message(ExportRow(value, number, "messages[]", notes), notes)
        if message:
            yield message
    if not number:
        notes.wrong(
            "near_miss",
            "a Telegram export without messages",
            hint='in Telegram Desktop: Export chat history, format "Machine-readable JSON"',
        )


def nearly(head: str, name: str) -> tuple[str, str] | None:
    """Return what a file that is nearly an export of Telegram lacks, and what to type about it; None for others."""
    if re.search(r'"(?:personal_information|frequent_contacts|web_sessions)"\s*:', head):
        return (
            "looks like a Telegram export without chats",
            'export again in Telegram Desktop with the chats ticked, format "Machine-readable JSON"',
        )
    if _chat(head) or _sender(head):
        return "looks like a piece of a Telegram export", "give result.json as it was exported"
    return None


def _own(chat: dict[str, Any], notes: Notes) -> None:
    """Note whose persona it is: of the one to whom the owner of the export speaks."""
    name = chat.get("name")
    if chat.get("type") == "personal_chat" and isinstance(name, str):
        notes.persona = name


def _message(row: ExportRow, notes: Notes) -> Message | None:
    if not row.right:
        return None
    kind, time = row.text("type"), _time(row)
    if kind == "service":
        dropped = "call" if row.text("action") in CALLS else "system"
        return Message("", "", row.number, time, dropped)
    text = _text(row)
    return Message(_speaker(row, notes), text, row.number, time, _dropped(row, text))


def _dropped(row: ExportRow, text: str) -> str:
    """Return why nobody in the chat said it, or the text is none."""
    if "forwarded_from" in row.fields or row.has("forwarded_from_id"):
        return "forward"
    if row.has("via_bot"):
        return "bot"
    if text or not row.has(*MEDIA):
        return ""
    return "sticker" if row.fields.get("media_type") == "sticker" else "media"


def _text(row: ExportRow) -> str:
    """Return the text of a message, which may be a list of plain pieces and of entities with a text."""
    value = row.fields.get("text", row.fields.get("text_entities"))
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        row.wrong("text", value, "text or a list")
        return ""
    pieces = []
    for piece in value:
        said = piece.get("text") if isinstance(piece, dict) else piece
        if isinstance(said, str):
            pieces.append(said)
        else:
            row.wrong("text[]", said, "text or an object with a text")
    return "".join(pieces)


def _speaker(row: ExportRow, notes: Notes) -> str:
    name = row.text("from") or row.text("author")
    if name.strip():
        return name
    given = row.fields.get("from_id")
    sender = given if isinstance(given, str | int) and not isinstance(given, bool) else ""
    name = f"deleted account {sender}".strip()
    hint = f'if you know who it is: --same "{name}=NAME"'
    notes.warn("unnamed_sender", f"a sender without a name is called {shown(name)}", row.number, hint=hint)
    notes.labels.add(name)
    return name


def _time(row: ExportRow) -> Stamp | None:
    """Return when it was sent: as the clock of the export's owner showed it, else in UTC."""
    stamp = timestamp_parsing.read(row.text("date"))
    if stamp is None and (seconds := row.number_of("date_unixtime")) is not None:
        stamp = timestamp_parsing.of_epoch(seconds)
    return stamp
