"""One job as its owner sees it: what it is, and what has happened so far, which may be followed while it goes on."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from menura.serve.database.job_records import EventRecord, JobRecord
from menura.serve.jobs.process import WorkerProcess, WorkerTask

JobState = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED: tuple[JobState, ...] = ("done", "failed", "cancelled")
HEARTBEAT_SECONDS = 15.0  # after which a reader who waits is told that nothing happened


@dataclass(frozen=True)
class JobRequest:
    """What is to be done, for whom; ``for_owner`` turns a text about files into one that the owner understands.

    ``on_end`` is called once the job has ended, whichever way, before anybody is told so.
    """

    task: WorkerTask
    owner: str
    persona: str
    for_owner: Callable[[str], str] = lambda text: text
    on_end: Callable[[], None] = lambda: None


@dataclass
class AdaptationJob:
    """A job while it waits, runs or is remembered."""

    id: str
    request: JobRequest
    created: float = field(default_factory=time.time)
    state: JobState = "waiting"
    ended: float | None = None
    events: list[EventRecord] = field(default_factory=list)  # ``name`` is ``state`` or what the worker calls it
    cancelled: bool = False
    stopped: bool = False  # by the end of the server
    process: WorkerProcess | None = None
    save: Callable[[JobRecord, Sequence[EventRecord]], None] = lambda record, events: None
    _unsaved: list[EventRecord] = field(default_factory=list)
    _readers: set[Callable[[], None]] = field(default_factory=set)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def note(self, name: str, data: dict[str, Any]) -> None:
        """Add an event and wake who follows."""
        with self._changed:
            self._add(name, data)

    def change_state(self, state: JobState, **data: Any) -> None:
        """Change the state, which is an event too."""
        with self._changed:
            self.state = state
            self.ended = time.time() if state in ENDED else None
            self._add("state", {"state": state, **data})

    def wait_for_end(self, seconds: float) -> bool:
        """Wait until the job has ended; return whether it has."""
        with self._changed:
            return self._changed.wait_for(lambda: self.state in ENDED, seconds)

    def shown(self) -> dict[str, Any]:
        """Return the job as plain data: its state and the last of its steps."""
        with self._changed:
            events = list(self.events)
        last = {event.name: event.data for event in events}
        return {
            "id": self.id,
            "persona": self.request.persona,
            "kind": self.request.task.kind,
            "state": self.state,
            "created": self.created,
            "ended": self.ended,
            "events": len(events),
            "step": last.get("step"),
            "check": last.get("check"),
            "problems": last.get("state", {}).get("problems", []),
        }

    async def follow(self, after: int = 0) -> AsyncGenerator[EventRecord | None, None]:
        """Yield the events behind number ``after``, then those to come, until the job has ended.

        None says every fifteen seconds that nothing has happened.
        """
        changed, loop = asyncio.Event(), asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(changed.set)

        with self._changed:
            self._readers.add(wake)
        try:
            while True:
                changed.clear()
                with self._changed:
                    new, ended = self.events[after:], self.state in ENDED
                for event in new:
                    yield event
                after += len(new)
                if ended:
                    return
                if not new:
                    try:
                        await asyncio.wait_for(changed.wait(), HEARTBEAT_SECONDS)
                    except TimeoutError:
                        yield None
        finally:
            with self._changed:
                self._readers.discard(wake)

    def _add(self, name: str, data: dict[str, Any]) -> None:
        """Add an event, save it, and wake who follows; steps, which come fast, are saved with what comes next."""
        event = EventRecord(len(self.events) + 1, name, data)
        self.events.append(event)
        self._unsaved.append(event)
        if name not in ("step", "control"):
            request = self.request
            about = (self.id, request.owner, request.persona, request.task.kind, self.state, self.created, self.ended)
            self.save(JobRecord(*about), self._unsaved)
            self._unsaved = []
        self._wake()

    def _wake(self) -> None:
        self._changed.notify_all()
        for wake in self._readers:
            wake()
