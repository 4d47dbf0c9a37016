"""When each persona was last asked for a reply: kept in memory, and written now and then, so that no reply waits."""

import logging
import threading
import time

from menura.errors import MenuraError
from menura.serve.database import persona_notes
from menura.serve.database.database import Database

WRITTEN_EVERY = 60.0  # seconds
logger = logging.getLogger(__name__)


class LastUse:
    """Notes uses; ``write`` brings the database up to date. A killed server loses a minute of them."""

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
        """Write what was noted; where the disk refuses, that is logged, as no request is about it."""
        with self._lock:
            noted, self._noted = self._noted, {}
        try:
            if noted:
                persona_notes.note_uses(self._database, noted)
        except MenuraError as error:
            logger.warning("last uses were not written: %s", error.problems[0].code)
