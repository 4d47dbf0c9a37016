"""Comparisons and the one vote on each, as rows; the order of the lanes tells which model is which."""

import json
import secrets
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from menura.errors import ConfigError
from menura.serve.database.chats import unknown
from menura.serve.database.database import Database

TIE, BAD = "tie", "bad"  # choices beside the number of a lane


@dataclass(frozen=True)
class ComparisonRecord:
    """One prompt and the replies of several models, ``lanes`` in the order shown; ``choice`` None: no vote yet.

    A choice is the number of a lane, ``tie`` or ``bad``.
    """

    id: str
    turns: tuple[tuple[str, str], ...]
    lanes: tuple[str, ...]
    replies: tuple[str, ...]
    blind: bool
    finished: bool
    created: float
    choice: str | None = None

    def shown(self) -> dict[str, Any]:
        """Return the comparison as its owner may see it: blind, it has no names before the vote."""
        revealed = not self.blind or self.choice is not None
        return {
            "id": self.id,
            "turns": [{"speaker": speaker, "text": text} for speaker, text in self.turns],
            "replies": list(self.replies),
            "blind": self.blind,
            "finished": self.finished,
            "created": self.created,
            "choice": self.choice,
            "models": list(self.lanes) if revealed else None,
        }


def new_comparison(
    database: Database, owner: str, turns: Sequence[tuple[str, str]], lanes: Sequence[str], *, blind: bool
) -> str:
    """Note a comparison before its first token, and return its id."""
    comparison = secrets.token_hex(16)
    values = (comparison, owner, json.dumps(list(turns)), json.dumps(list(lanes)), "[]", blind, False, time.time())
    database.write("INSERT INTO comparisons VALUES (?, ?, ?, ?, ?, ?, ?, ?)", *values)
    return comparison


def note_replies(database: Database, comparison: str, replies: Sequence[str], *, finished: bool) -> None:
    """Store the replies of all lanes, whole where ``finished``."""
    statement = "UPDATE comparisons SET replies = ?, finished = ? WHERE id = ?"
    database.write(statement, json.dumps(list(replies)), finished, comparison)


def comparison_of(database: Database, owner: str, comparison: str) -> ComparisonRecord:
    """Return a comparison with its vote; ConfigError ``not_found``."""
    query = "SELECT c.*, v.choice FROM comparisons c LEFT JOIN votes v ON v.comparison = c.id"
    row = database.row(f"{query} WHERE c.id = ? AND c.owner = ?", comparison, owner)
    if row is None:
        raise unknown("comparison")
    return _record(row)


def page_of_comparisons(database: Database, owner: str, limit: int, after: str = "") -> list[ComparisonRecord]:
    """Return comparisons, the latest first; those behind the one called ``after``."""
    query = (
        "SELECT c.*, v.choice FROM comparisons c LEFT JOIN votes v ON v.comparison = c.id WHERE c.owner = ?1 AND "
        "(?2 = '' OR (c.created, c.id) < (SELECT created, id FROM comparisons WHERE id = ?2 AND owner = ?1)) "
        "ORDER BY c.created DESC, c.id DESC LIMIT ?3"
    )
    return [_record(row) for row in database.rows(query, owner, after, limit)]


def voted_on(database: Database, owner: str, *, blind_only: bool) -> list[ComparisonRecord]:
    """Return all comparisons with a vote, the oldest first; those alone of which the names were hidden, if asked."""
    query = "SELECT c.*, v.choice FROM comparisons c JOIN votes v ON v.comparison = c.id"
    rows = database.rows(f"{query} WHERE c.owner = ? AND c.blind >= ? ORDER BY v.created, c.id", owner, blind_only)
    return [_record(row) for row in rows]


def vote(database: Database, owner: str, comparison: str, choice: str, idempotency_key: str) -> ComparisonRecord:
    """Keep the first vote on a comparison, and return the comparison with it.

    The same idempotency key returns the first vote. Raises ConfigError ``not_found``, ``unfinished`` where not every
    model has replied, ``unknown_choice``, and ``already_rated`` for a second vote.
    """
    found = comparison_of(database, owner, comparison)
    if not found.finished:
        raise ConfigError("a model has not replied to its end, so there is nothing to vote on", code="unfinished")
    choices = [*map(str, range(len(found.lanes))), TIE, BAD]
    if choice not in choices:
        raise ConfigError(f"choice: one of {', '.join(choices)} wanted", code="unknown_choice")
    with database.transaction() as connection:
        values = (comparison, choice, idempotency_key, time.time())
        new = connection.execute("INSERT OR IGNORE INTO votes VALUES (?, ?, ?, ?)", values).rowcount
        query = "SELECT idempotency_key FROM votes WHERE comparison = ?"
        first = connection.execute(query, (comparison,)).fetchone()
    again = bool(idempotency_key) and first["idempotency_key"] == idempotency_key
    if not new and not again:
        raise ConfigError("this comparison has a vote already; the first one is kept", code="already_rated")
    return comparison_of(database, owner, comparison)


def delete_comparison(database: Database, owner: str, comparison: str) -> None:
    """Delete a comparison with its vote; one that is not there is no error."""
    database.delete([("DELETE FROM comparisons WHERE id = ? AND owner = ?", (comparison, owner))])


def _record(row: sqlite3.Row) -> ComparisonRecord:
    return ComparisonRecord(
        row["id"],
        tuple((speaker, text) for speaker, text in json.loads(row["turns"])),
        tuple(json.loads(row["lanes"])),
        tuple(json.loads(row["replies"])),
        bool(row["blind"]),
        bool(row["finished"]),
        row["created"],
        row["choice"],
    )
