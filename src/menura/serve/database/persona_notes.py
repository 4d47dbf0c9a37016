"""What is noted of a persona beside its file: its tags, when somebody last talked to it, and that its person agreed."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from menura.serve.database.database import Database

NOTES = ("tags", "last_uses", "consents")  # tables with a column ``persona``


def tags_of(database: Database) -> dict[str, list[str]]:
    """Return the tags of all personas that have some, each persona's sorted."""
    found: dict[str, list[str]] = {}
    for row in database.rows("SELECT persona, tag FROM tags ORDER BY persona, tag"):
        found.setdefault(row["persona"], []).append(row["tag"])
    return found


def set_tags(database: Database, persona: str, tags: Iterable[str]) -> list[str]:
    """Give a persona these tags and no others; return them sorted."""
    chosen = sorted(set(tags))
    with database.transaction() as connection:
        connection.execute("DELETE FROM tags WHERE persona = ?", (persona,))
        connection.executemany("INSERT INTO tags VALUES (?, ?)", [(persona, tag) for tag in chosen])
    return chosen


def note_uses(database: Database, uses: Mapping[str, float]) -> None:
    """Note when personas were last talked to, in seconds since 1970."""
    with database.transaction() as connection:
        connection.executemany("INSERT OR REPLACE INTO last_uses VALUES (?, ?)", list(uses.items()))


def last_uses(database: Database) -> dict[str, float]:
    """Return when personas were last talked to; of those that never were there is nothing."""
    return {row["persona"]: row["used"] for row in database.rows("SELECT persona, used FROM last_uses")}


def note_consent(database: Database, persona: str, owner: str) -> None:
    """Note that whoever makes a persona has said that the person whose words they are agreed."""
    database.write("INSERT OR REPLACE INTO consents VALUES (?, ?, ?)", persona, owner, time.time())


def consent_of(database: Database, persona: str) -> float | None:
    """Return when that was last said, in seconds since 1970; None where it was not."""
    row = database.row("SELECT given FROM consents WHERE persona = ?", persona)
    return None if row is None else float(row["given"])


def forget(database: Database, persona: str) -> None:
    """Delete what is noted of a persona, where there is something."""
    with database.transaction() as connection:
        for table in NOTES:
            connection.execute(f"DELETE FROM {table} WHERE persona = ?", (persona,))


def noted(database: Database, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the tags and the last use of personas, by name."""
    tags, uses = tags_of(database), last_uses(database)
    return {name: {"tags": tags.get(name, []), "last_used": uses.get(name)} for name in names}
