"""Whose a persona is: the key that it was made with."""

import time

from menura.serve.database import persona_notes
from menura.serve.database.database import Database


def owner_of(database: Database, persona: str) -> str | None:
    """Return the id of the key that a persona was made with; None where that is not noted."""
    row = database.row("SELECT owner FROM owners WHERE persona = ?", persona)
    return None if row is None else str(row["owner"])


def owned(database: Database, owner: str) -> set[str]:
    """Return the names of the personas that were made with a key."""
    return {str(row["persona"]) for row in database.rows("SELECT persona FROM owners WHERE owner = ?", owner)}


def note_owner(database: Database, persona: str, owner: str) -> str:
    """Note whose a persona is, unless that is noted already; return whose it is."""
    with database.transaction() as connection:
        connection.execute("INSERT OR IGNORE INTO owners VALUES (?, ?, ?)", (persona, owner, time.time()))
        row = connection.execute("SELECT owner FROM owners WHERE persona = ?", (persona,)).fetchone()
    return str(row["owner"])


def forget_owner(database: Database, persona: str) -> None:
    """Delete whose a persona is, and what is noted of one that is not there any more."""
    database.write("DELETE FROM owners WHERE persona = ?", persona)
    persona_notes.forget(database, persona)


def forget_stale(database: Database, persona: str, seconds: float) -> None:
    """Delete whose a persona was that another program deleted, which does not know of this database."""
    database.write("DELETE FROM owners WHERE persona = ? AND made < ?", persona, time.time() - seconds)


def forget_persona(database: Database, persona: str, chats_of: str | None) -> None:
    """Delete all that is noted of a persona, and what the owner ``chats_of`` said to it; no byte of that is left.

    The latter is their chats with it and their comparisons of it. None: both stay.
    """
    statements: list[tuple[str, tuple[str, ...]]] = [
        (f"DELETE FROM {table} WHERE persona = ?", (persona,)) for table in ("owners", "jobs", *persona_notes.NOTES)
    ]
    if chats_of is not None:
        statements.append(("DELETE FROM chats WHERE persona = ? AND owner = ?", (persona, chats_of)))
        lanes = (
            "SELECT 1 FROM json_each(lanes) WHERE json_each.value = ?1 "
            "OR substr(json_each.value, 1, length(?1) + 1) = ?1 || '@'"
        )
        statements.append((f"DELETE FROM comparisons WHERE owner = ?2 AND EXISTS ({lanes})", (persona, chats_of)))
    database.delete(statements)


def rename_persona(database: Database, old: str, new: str) -> None:
    """Give all that is noted of a persona its new name."""
    with database.transaction() as connection:
        for table in ("owners", "chats", "jobs", *persona_notes.NOTES):
            connection.execute(f"UPDATE OR REPLACE {table} SET persona = ? WHERE persona = ?", (new, old))
