"""When each persona was last asked for a reply: kept in memory, and written now and then, so that no reply waits."""

import threading
import time

from menura.serve.database import persona_notes
from menura.serve.database.database import Database

WRITTEN_EVERY = 60.0  # seconds


class LastUse:
    """Notes uses; ``written`` and ``close`` bring the database up to date. A killed server loses a minute of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._noted: dict[str, float] = {}
        self._written = time.monotonic()

    def note(self, model: str) -> None:
        """Note that a persona, or a version of it, is asked for a reply now."""
        with self._lock:
            self._noted[model.partition("@")[0]] = time.time()
            late = time.monotonic() > self._written + WRITTEN_EVERY
            if late:
                self._written = time.monotonic()
        if late:
            threading.Thread(target=self.write, daemon=True).start()

    def write(self) -> None:
        """Write what was noted."""
        with self._lock:
            noted, self._noted = self._noted, {}
        if noted:
            persona_notes.note_uses(self._database, noted)
