"""Jobs as rows, so that what was said of one is there after the server was started anew."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from menura.serve.database.database import Database


@dataclass(frozen=True)
class EventRecord:
    """One event of a job: its number from 1, what it is called, and its data."""

    number: int
    name: str
    data: dict[str, Any]


@dataclass(frozen=True)
class JobRecord:
    """A job without what it was asked to do; ``created`` and ``ended`` are in seconds since 1970."""

    id: str
    owner: str
    persona: str
    kind: str
    state: str
    created: float
    ended: float | None = None


def save(database: Database, job: JobRecord, events: Sequence[EventRecord]) -> None:
    """Write a job as it is now, and events that were not written before.

    What was deleted with its persona stays deleted: then nothing is written.
    """
    rows = [(job.id, event.number, event.name, json.dumps(event.data)) for event in events]
    values = (job.id, job.owner, job.persona, job.kind, job.state, job.created, job.ended)
    with database.transaction() as connection:
        if events and events[0].number == 1:
            connection.execute("INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        else:
            connection.execute("UPDATE jobs SET state = ?, ended = ? WHERE id = ?", (job.state, job.ended, job.id))
        there = "SELECT ?1, ?2, ?3, ?4 WHERE EXISTS (SELECT 1 FROM jobs WHERE id = ?1)"
        connection.executemany(f"INSERT INTO job_events {there}", rows)


def saved_jobs(database: Database) -> list[tuple[JobRecord, list[EventRecord]]]:
    """Return all jobs with their events, the oldest first."""
    events: dict[str, list[EventRecord]] = {}
    for row in database.rows("SELECT * FROM job_events ORDER BY job, number"):
        events.setdefault(row["job"], []).append(EventRecord(row["number"], row["name"], json.loads(row["data"])))
    jobs = database.rows("SELECT * FROM jobs ORDER BY created, id")
    return [(JobRecord(**dict(row)), events.get(row["id"], [])) for row in jobs]


def forget_ended(database: Database, before: float) -> None:
    """Delete the jobs that ended before a time, in seconds since 1970."""
    database.write("DELETE FROM jobs WHERE ended < ?", before)
