"""All jobs of a workspace: so many run, so many wait, and those that have ended are remembered for a day."""

import logging
import secrets
import threading
import time
from collections.abc import Sequence
from typing import Any, cast

from menura.artefacts import persona_store
from menura.errors import BusyError, MenuraError, OverloadedError, Problem, UnavailableError, shown
from menura.serve.database import job_records, persona_owners
from menura.serve.database.chats import unknown
from menura.serve.database.database import Database
from menura.serve.database.job_records import EventRecord, JobRecord
from menura.serve.jobs.adaptation_job import ENDED, AdaptationJob, JobRequest, JobState
from menura.serve.jobs.process import WorkerProcess, WorkerTask
from menura.serve.previews import plain_problem
from menura.serve.settings import JobLimits

logger = logging.getLogger(__name__)
CANCEL_SECONDS = 10.0  # in which a killed process is gone
RETRY_SECONDS = 60  # after which somebody may ask again where too many jobs wait


class Jobs:
    """Starts a process for each job, one persona at a time; ``close`` kills those that run.

    Their records are in the database. Those that ran when a server before this one stopped have failed.
    """

    def __init__(self, limits: JobLimits, database: Database) -> None:
        self.limits = limits
        self._database = database
        self._lock = threading.RLock()
        self._jobs: dict[str, AdaptationJob] = {}
        self._closed = False
        for record, events in job_records.saved_jobs(database):
            self._take_over(record, events)

    def submit(self, request: JobRequest) -> AdaptationJob:
        """Start a job, or let it wait its turn.

        Raises BusyError where another job makes a persona of the same name, OverloadedError where too many wait, and
        UnavailableError where the server stops.
        """
        with self._lock:
            if self._closed:
                raise UnavailableError("the server stops")
            self._forget_old()
            if self.working_on(request.persona):
                message = f"persona {shown(request.persona)} is being adapted"
                raise BusyError(message, hint="wait for that job, or cancel it")
            waiting = sum(job.state == "waiting" for job in self._jobs.values())
            if waiting >= self.limits.waiting and self._running() >= self.limits.running:
                raise OverloadedError(f"{waiting} jobs wait already", retry_after=RETRY_SECONDS)
            job = AdaptationJob(secrets.token_hex(16), request, save=self._save)
            self._jobs[job.id] = job
            job.change_state("waiting")
            self._start_next()
            return job

    def of(self, owner: str) -> list[AdaptationJob]:
        """Return the jobs of an owner, the latest first."""
        with self._lock:
            self._forget_old()
            return [job for job in reversed(self._jobs.values()) if job.request.owner == owner]

    def find(self, job: str, owner: str) -> AdaptationJob:
        """Return a job; ConfigError ``not_found`` for one that is not there, or another's."""
        with self._lock:
            found = self._jobs.get(job)
        if found is None or found.request.owner != owner:
            raise unknown("job")
        return found

    def working_on(self, persona: str) -> bool:
        """Return whether a job of a persona waits or runs."""
        with self._lock:
            return any(job.request.persona == persona and job.state not in ENDED for job in self._jobs.values())

    def cancel(self, job: AdaptationJob) -> None:
        """End a job; nothing of what it was about to write is left. One that has ended stays as it is."""
        with self._lock:
            if job.state == "waiting":
                self._end_early(job)
                return
            job.cancelled = True
            if job.process is not None:
                job.process.kill()
        job.wait_for_end(CANCEL_SECONDS)

    def cancel_all_of(self, persona: str) -> None:
        """End all jobs of a persona."""
        with self._lock:
            found = [job for job in self._jobs.values() if job.request.persona == persona]
        for job in found:
            self.cancel(job)

    def close(self) -> None:
        """End all jobs and take no more."""
        with self._lock:
            self._closed = True
            found = [job for job in self._jobs.values() if job.state not in ENDED]
            for job in found:
                job.stopped = not job.cancelled
        for job in reversed(found):  # those that wait first, so that none of them is started
            self.cancel(job)

    def _take_over(self, record: JobRecord, events: list[EventRecord]) -> None:
        """Remember a job of an earlier server; one that had not ended then has failed now."""
        request = JobRequest(WorkerTask(record.kind, {}), record.owner, record.persona)
        state = cast("JobState", record.state)
        job = AdaptationJob(record.id, request, record.created, state, record.ended, events, save=self._save)
        self._jobs[job.id] = job
        if state not in ENDED:
            job.change_state("failed", **_server_stopped())
            if not persona_store.path_of(record.persona).exists():
                persona_owners.forget_owner(self._database, record.persona)

    def _save(self, record: JobRecord, events: Sequence[EventRecord]) -> None:
        try:
            job_records.save(self._database, record, events)
        except MenuraError as error:  # a full disk, for instance: the job goes on
            logger.warning("job %s: its record could not be written: %s", record.id, error.problems[0].code)

    def _running(self) -> int:
        return sum(job.state == "running" for job in self._jobs.values())

    def _start_next(self) -> None:
        for job in list(self._jobs.values()):
            if self._running() >= self.limits.running or self._closed:
                return
            if job.state == "waiting":
                job.change_state("running")
                threading.Thread(target=self._run, args=(job,), name=f"job {job.id}", daemon=True).start()

    def _run(self, job: AdaptationJob) -> None:
        before = _files_of(job.request.persona)
        name, data = "failed", _not_started()
        try:
            with self._lock:
                if not job.cancelled:
                    job.process = WorkerProcess(job.request.task)
            for name, data in job.process.events() if job.process else ():
                if name not in ("done", "failed"):
                    job.note(name, _for_owner(data, job))
        except OSError:
            name, data = "failed", _not_started()
        if name != "done":
            try:
                _undo_half(job.request.persona, before)
            except MenuraError as error:  # menura doctor finds it
                logger.warning("job %s: %s", job.id, error.problems[0].code)
        with self._lock:
            if job.cancelled and name != "done":
                self._end_early(job)
            else:
                self._end(job, "done" if name == "done" else "failed", **_for_owner(data, job))
            self._start_next()

    def _end_early(self, job: AdaptationJob) -> None:
        if job.stopped:
            self._end(job, "failed", **_server_stopped())
        else:
            self._end(job, "cancelled")

    def _end(self, job: AdaptationJob, state: JobState, **data: Any) -> None:
        try:
            job.request.on_end()
        except MenuraError as error:  # an upload that could not be deleted goes after a day
            logger.warning("job %s: %s", job.id, error.problems[0].code)
        job.process = None
        job.change_state(state, **data)

    def _forget_old(self) -> None:
        oldest = time.time() - self.limits.kept_seconds
        old = [job for job in self._jobs.values() if job.ended is not None and job.ended < oldest]
        for job in old:
            del self._jobs[job.id]
        if old:
            job_records.forget_ended(self._database, oldest)


def _for_owner(data: dict[str, Any], job: AdaptationJob) -> dict[str, Any]:
    """Return an event's data with files called as the owner calls them."""
    renamed = job.request.for_owner
    plain = {key: renamed(value) if isinstance(value, str) else value for key, value in data.items()}
    if "problems" in data:
        plain["problems"] = [
            {key: renamed(value) if isinstance(value, str) else value for key, value in one.items()}
            for one in data["problems"]
        ]
    return plain


def _files_of(persona: str) -> dict[str, int]:
    """Return the files of a persona with the times of their last change, in nanoseconds."""
    names = [*persona_store.versions(persona), persona]
    paths = [persona_store.path_of(name) for name in names]
    return {path.stem: path.stat().st_mtime_ns for path in paths if path.exists()}


def _undo_half(persona: str, before: dict[str, int]) -> None:
    """Delete what a killed process left: files that are not whole, and a copy for a version that was not written."""
    with persona_store.changing():
        persona_store.remove_unfinished(persona)
        after = _files_of(persona)
        if after.get(persona) != before.get(persona):
            return  # the new version is there, whole
        for name in after.keys() - before.keys():
            persona_store.path_of(name).unlink(missing_ok=True)


def _not_started() -> dict[str, Any]:
    return {"error": "PeerError", "problems": [_problem("lost_worker", "the process could not be started")]}


def _server_stopped() -> dict[str, Any]:
    problem = _problem("server_stopped", "the server stopped before this had ended", hint="adapt it again")
    return {"error": "PeerError", "problems": [problem]}


def _problem(code: str, message: str, hint: str = "") -> dict[str, Any]:
    return plain_problem(Problem(code, message, hint=hint))
