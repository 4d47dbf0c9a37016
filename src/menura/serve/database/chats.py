"""Chats and their messages as rows; every question names the owner, so that nobody meets another's."""

import json
import secrets
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from menura.errors import ConfigError
from menura.serve.database.database import Database

Role = Literal["user", "persona"]
CHANGED = {"rating", "text"}  # of a message, by its owner
PAGE = (
    "SELECT c.*, (SELECT count(*) FROM messages m WHERE m.chat = c.id) AS messages FROM chats c WHERE c.owner = ?1 "
    "AND (?2 = '' OR c.persona = ?2) AND (?3 = '' OR instr(lower(c.title), lower(?3)) > 0) AND (?4 = '' OR "
    "(c.created, c.id) < (SELECT created, id FROM chats WHERE id = ?4 AND owner = ?1)) "
    "ORDER BY c.created DESC, c.id DESC LIMIT ?5"
)


@dataclass(frozen=True)
class NewMessage:
    """What is stored of a message; ``scores`` are of ``candidates``, ``recalled`` what the persona's memory gave."""

    role: Role
    text: str
    candidates: Sequence[str] = ()
    scores: Sequence[float] = ()
    recalled: Sequence[tuple[str, str]] = ()
    finished: bool = True
    version: int = 0  # of the persona that said it


def unknown(what: str) -> ConfigError:
    """Return the error for an id that is none, or another's: the same words for both."""
    return ConfigError(f"there is no {what} of this id", code="not_found")


def new_chat(database: Database, owner: str, persona: str, version: int, title: str) -> dict[str, Any]:
    """Begin a chat and return it."""
    chat = secrets.token_hex(16)
    values = (chat, owner, persona, version, title, time.time())
    database.write("INSERT INTO chats VALUES (?, ?, ?, ?, ?, ?)", *values)
    return chat_of(database, owner, chat)


def page_of_chats(
    database: Database, owner: str, limit: int, *, persona: str = "", query: str = "", after: str = ""
) -> list[dict[str, Any]]:
    """Return chats, the latest first; those behind the chat ``after``, whose title holds ``query``."""
    rows = database.rows(PAGE, owner, persona, query, after, limit)
    return [{**_plain_chat(row), "messages": row["messages"]} for row in rows]


def chat_of(database: Database, owner: str, chat: str) -> dict[str, Any]:
    """Return a chat without its messages; ConfigError ``not_found``."""
    row = database.row("SELECT * FROM chats WHERE id = ? AND owner = ?", chat, owner)
    if row is None:
        raise unknown("chat")
    return _plain_chat(row)


def rename_chat(database: Database, owner: str, chat: str, title: str) -> None:
    """Change a chat's title; ConfigError ``not_found``."""
    if not database.write("UPDATE chats SET title = ? WHERE id = ? AND owner = ?", title, chat, owner):
        raise unknown("chat")


def delete_chat(database: Database, owner: str, chat: str) -> None:
    """Delete a chat with its messages; one that is not there is no error."""
    database.delete([("DELETE FROM chats WHERE id = ? AND owner = ?", (chat, owner))])


def messages_of(database: Database, owner: str, chat: str) -> list[dict[str, Any]]:
    """Return the messages of a chat, in order; ConfigError ``not_found``."""
    chat_of(database, owner, chat)
    return [_plain_message(row) for row in database.rows("SELECT * FROM messages WHERE chat = ? ORDER BY place", chat)]


def add_message(database: Database, owner: str, chat: str, message: NewMessage) -> dict[str, Any]:
    """Put a message behind the others of a chat, and return it; ConfigError ``not_found``."""
    with database.transaction() as connection:
        if not connection.execute("SELECT 1 FROM chats WHERE id = ? AND owner = ?", (chat, owner)).fetchone():
            raise unknown("chat")
        query = "SELECT coalesce(max(place) + 1, 0) FROM messages WHERE chat = ?"
        place = connection.execute(query, (chat,)).fetchone()[0]
        parts = (json.dumps(list(part)) for part in (message.candidates, message.scores))
        values = (chat, place, message.role, message.text, *parts, None, json.dumps(list(message.recalled)))
        values += (message.finished, message.version, time.time())
        connection.execute(f"INSERT INTO messages VALUES ({', '.join('?' * len(values))})", values)
        if message.version:
            connection.execute("UPDATE chats SET version = ? WHERE id = ?", (message.version, chat))
    return message_of(database, owner, chat, place)


def message_of(database: Database, owner: str, chat: str, place: int) -> dict[str, Any]:
    """Return one message; ConfigError ``not_found``."""
    query = "SELECT m.* FROM messages m JOIN chats c ON c.id = m.chat WHERE m.chat = ? AND m.place = ? AND c.owner = ?"
    row = database.row(query, chat, place, owner)
    if row is None:
        raise unknown("message")
    return _plain_message(row)


def change_message(
    database: Database, owner: str, chat: str, place: int, changes: Mapping[str, str | None]
) -> dict[str, Any]:
    """Change ``rating`` or ``text`` of a message, and return it; ConfigError ``not_found``."""
    assert changes.keys() <= CHANGED
    message_of(database, owner, chat, place)
    if changes:
        assigned = ", ".join(f"{name} = ?" for name in changes)
        database.write(f"UPDATE messages SET {assigned} WHERE chat = ? AND place = ?", *changes.values(), chat, place)
    return message_of(database, owner, chat, place)


def delete_messages(database: Database, owner: str, chat: str, place: int) -> None:
    """Delete a message and all behind it; where there is none that is no error. ConfigError for an unknown chat."""
    chat_of(database, owner, chat)
    database.delete([("DELETE FROM messages WHERE chat = ? AND place >= ?", (chat, place))])


def _plain_chat(row: sqlite3.Row) -> dict[str, Any]:
    return {name: row[name] for name in ("id", "persona", "version", "title", "created")}


def _plain_message(row: sqlite3.Row) -> dict[str, Any]:
    plain = {name: row[name] for name in ("place", "role", "text", "rating", "version", "created")}
    lists = {name: json.loads(row[name]) for name in ("candidates", "scores", "recalled")}
    return {**plain, **lists, "finished": bool(row["finished"])}
