"""``/api/jobs``: how adaptations go on; each may be followed while it runs, and cancelled."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response

from menura.errors import ConfigError
from menura.serve.http.caller import caller_of
from menura.serve.jobs.adaptation_job import AdaptationJob
from menura.serve.routes.event_stream import HEARTBEAT, EventStream, sent
from menura.serve.services import services_of

router = APIRouter(prefix="/api/jobs", tags=["jobs"])


@router.get("")
def list_jobs(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    after: Annotated[str, Query(max_length=32)] = "",
    q: Annotated[str, Query(max_length=128)] = "",
) -> dict[str, Any]:
    """List the caller's jobs of the last day, the latest first; ``q`` is part of a persona's name."""
    services = services_of(request)
    found = [
        job for job in services.jobs.of(caller_of(request).key_id) if q.casefold() in job.request.persona.casefold()
    ]
    ids = [job.id for job in found]
    start = ids.index(after) + 1 if after in ids else 0
    page = found[start : start + limit]
    more = start + limit < len(found)
    return {"jobs": [job.shown() for job in page], "total": len(found), "next": page[-1].id if more else None}


@router.get("/{job_id}")
def show_job(request: Request, job_id: str) -> dict[str, Any]:
    """Return a job's state, its last step, its check, and why it failed."""
    return services_of(request).jobs.find(job_id, caller_of(request).key_id).shown()


@router.get("/{job_id}/events")
async def follow_job(
    request: Request, job_id: str, last_event_id: Annotated[str, Header(max_length=32)] = ""
) -> EventStream:
    """Send what has happened in a job, then what happens, until it has ended; from ``Last-Event-ID`` on."""
    job = services_of(request).jobs.find(job_id, caller_of(request).key_id)
    return EventStream(_events(job, int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else 0))


@router.delete("/{job_id}", status_code=204)
def cancel_job(request: Request, job_id: str) -> Response:
    """Cancel a job; nothing of what it was about to write is left. One that has ended stays, or that is not there."""
    jobs = services_of(request).jobs
    try:
        job = jobs.find(job_id, caller_of(request).key_id)
    except ConfigError:
        return Response(status_code=204)
    jobs.cancel(job)
    return Response(status_code=204)


async def _events(job: AdaptationJob, after: int) -> AsyncGenerator[bytes, None]:
    following = job.follow(after)
    try:
        async for event in following:
            yield HEARTBEAT if event is None else sent(event.name, event.data, event.number)
    finally:
        await following.aclose()
