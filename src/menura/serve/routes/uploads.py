"""``/api/uploads``: a file or a pasted text is kept for a job, and what is in it is shown before."""

from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from menura import api
from menura.artefacts import persona_store
from menura.errors import MenuraError, UnsafeError
from menura.personas.selection import find_speaker
from menura.serve.http.caller import caller_of
from menura.serve.jobs.process import WorkerTask, result_of
from menura.serve.previews import previewed, suggested_name
from menura.serve.services import services_of
from menura.serve.uploads import Upload, discard, find_upload, receive

router = APIRouter(prefix="/api/uploads", tags=["uploads"])
PREVIEW_SECONDS = 180.0
AT_ONCE = 256 * 1024  # bytes of plain text that are read by the server itself; all else by a process of its own
PASTED = "pasted.txt"


class ReadingBody(BaseModel):
    """How a chat is read; the words and their meaning are those of ``menura adapt``."""

    model_config = ConfigDict(extra="forbid")
    gap: str | None = Field(default=None, max_length=16)
    dates: str = Field(default="", max_length=3)
    same: list[str] = Field(default=[], max_length=100)
    encoding: str = Field(default="", max_length=32)
    redact: bool = False
    drop_links: bool = False


class PreviewQuery(ReadingBody):
    """How a chat is read, and its format where it is not to be detected."""

    format: str | None = Field(default=None, max_length=64)


@router.post("", status_code=201)
async def upload(
    request: Request, filename: Annotated[str, Query(max_length=1024)] = "", preview: bool = True
) -> dict[str, Any]:
    """Keep the body, a file or a text, until a job has read it or for a day; with ``preview`` say what is in it."""
    services, caller = services_of(request), caller_of(request)
    limits = services.settings.http
    pasted = request.headers.get("content-type", "").partition(";")[0].strip().lower() == "text/plain"
    limit = limits.paste_bytes if pasted else limits.upload_bytes
    made = await receive(request.stream(), filename or PASTED, caller.key_id, limit)
    facts = {"id": made.id, "filename": made.filename, "bytes": made.bytes}
    if not preview:
        return facts
    try:
        return {**facts, "preview": await run_in_threadpool(preview_of, made, {})}
    except UnsafeError:
        await run_in_threadpool(discard, made)
        raise


@router.get("/{upload_id}/preview")
def preview_upload(request: Request, upload_id: str, query: Annotated[PreviewQuery, Query()]) -> dict[str, Any]:
    """Return what ``menura data check`` says of an upload, its first dialogues, and which persona it may become."""
    reading = query.model_dump(exclude={"format"})
    return preview_of(find_upload(upload_id, caller_of(request).key_id), reading, query.format)


@router.delete("/{upload_id}", status_code=204)
def delete_upload(request: Request, upload_id: str) -> Response:
    """Delete an upload; one that is not there is no error."""
    try:
        discard(find_upload(upload_id, caller_of(request).key_id))
    except MenuraError as error:
        if error.problems[0].code != "not_found":
            raise
    return Response(status_code=204)


def preview_of(upload: Upload, reading: dict[str, Any], form: str | None = None) -> dict[str, Any]:
    """Return what an upload holds, under the names that its sender knows, and what it may become."""
    options = api.read_options(**reading)  # a bad one is told without a process
    if upload.bytes <= AT_ONCE and upload.path.suffix == ".txt":
        found = previewed(upload.path, form, options)
    else:
        arguments = {"file": str(upload.path), "format": form, "reading": reading}
        found = result_of(WorkerTask("preview", arguments), PREVIEW_SECONDS)
    for one in (*found["files"], *found["problems"]):
        for key in ("name", "file", "message", "hint"):
            if key in one:
                one[key] = upload.under_sent_name(one[key])
    return {**found, "suggested": _suggested(found, upload)}


def _suggested(found: dict[str, Any], upload: Upload) -> dict[str, Any]:
    """Return whose persona the file may become, None where that is not clear, and what it may be called."""
    replies = [(one["name"], one["replies"]) for one in found["speakers"]]
    owner = found["owners"][0] if len(found["owners"]) == 1 else ""
    stem = PurePosixPath(upload.filename).stem or "chat"
    speaker = find_speaker(stem, replies, owner=owner, files=[upload.filename]) or (owner or None)
    return {"speaker": speaker, "name": suggested_name(speaker, [*persona_store.BUILT_IN]) if speaker else ""}
