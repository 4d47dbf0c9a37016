"""``/api/personas/{name}/adapt`` and ``/api/personas/import``: what was sent becomes a persona, as a job."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.concurrency import run_in_threadpool

from menura import api
from menura.artefacts import persona_store
from menura.artefacts.loading import DEFAULT
from menura.corpus.jsonl import render
from menura.errors import ConfigError, Problem, shown
from menura.serve.chat_dialogues import chat_dialogues
from menura.serve.database.chats import chat_of, messages_of
from menura.serve.database.persona_notes import note_consent
from menura.serve.file_kinds import kind_of, unpack_peft
from menura.serve.http.caller import Caller, caller_of
from menura.serve.jobs.adaptation_job import ENDED, AdaptationJob, JobRequest
from menura.serve.jobs.process import WorkerTask, error_of
from menura.serve.ownership import check_persona, check_workspace, claim, release
from menura.serve.routes.uploads import ReadingBody, preview_of
from menura.serve.services import Services, services_of
from menura.serve.uploads import Upload, discard, find_upload, receive

router = APIRouter(prefix="/api/personas", tags=["personas"], dependencies=[Depends(check_workspace)])
USUAL_SHOTS = 5
IMPORT_SECONDS = 60.0  # after which an import that waits for others goes on as a job
# What a client may set of a method, with the range of each: no path, and nothing that takes hours.
SETTINGS: dict[str, tuple[float, float]] = {
    "inner.lr": (1e-6, 1.0),
    "inner.epochs": (0, 50),
    "inner.batch_size": (0, 256),
    "inner.distill_weight": (0.0, 1.0),
}
COUNTS = ("inner.epochs", "inner.batch_size")


class AdaptBody(BaseModel):
    """From what a persona is to be made, one of ``upload``, ``text`` and ``chat``, and how.

    ``consent`` says that the person whose words these are has agreed, which is noted with the time.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    upload: str | None = Field(default=None, max_length=32)
    text: str | None = Field(default=None, max_length=1 << 20)
    chat: str | None = Field(default=None, max_length=32)
    only_good: bool = True
    speaker: str | None = Field(default=None, max_length=128)
    k: int | None = Field(default=None, ge=1, le=1000)
    pick: Literal["recent", "spread"] = "recent"
    more: bool = False
    replace: bool = False
    remember: bool = False
    consent: bool = False
    format: str | None = Field(default=None, max_length=64)
    base: str = Field(default=DEFAULT, max_length=64)
    method: Literal["", "finetune", "maml", "cmaml"] = ""
    settings: dict[str, float] = Field(default={}, max_length=16)
    reading: ReadingBody = ReadingBody()

    @model_validator(mode="after")
    def _one_source(self) -> "AdaptBody":
        if sum(source is not None for source in (self.upload, self.text, self.chat)) != 1:
            raise ValueError("one of upload, text and chat wanted")
        return self


@router.post("/{name}/adapt", status_code=202)
async def adapt(request: Request, name: str, body: AdaptBody) -> dict[str, Any]:
    """Start a job that makes a persona, or a further version of it, and return its id."""
    services, caller = services_of(request), caller_of(request)
    if body.more:
        await run_in_threadpool(check_persona, services, caller, name)
    assignments = _assignments(body)
    api.read_options(**body.reading.model_dump())  # what cannot be meant is told before anything is written
    new = await run_in_threadpool(claim, services, caller, name)
    try:
        upload, body = await _source(services, caller, body)
        if body.consent:
            await run_in_threadpool(note_consent, services.database, name, caller.key_id)
        job = await run_in_threadpool(_submitted, services, name, upload, body, assignments)
    except BaseException:
        if new:
            await run_in_threadpool(release, services, name)
        raise
    return {"job": job.id}


@router.post("/import", status_code=201)
async def import_persona(  # noqa: PLR0913  # each one is a field of the query
    request: Request,
    response: Response,
    name: Annotated[str, Query(max_length=64)],
    filename: Annotated[str, Query(max_length=1024)] = "",
    speaker: Annotated[str | None, Query(max_length=128)] = None,
    base: Annotated[str, Query(max_length=64)] = DEFAULT,
    consent: bool = False,
) -> dict[str, Any]:
    """Make a persona of the body: a .persona or .charx with weights, a zip of peft's folder, a card, or a chat.

    Weights are checked and kept at once (201; 200 where the same persona was there). Of a card or a chat a persona is
    adapted, which is a job (202 with its id).
    """
    services, caller = services_of(request), caller_of(request)
    new = await run_in_threadpool(claim, services, caller, name)
    upload: Upload | None = None
    try:
        limit = services.settings.http.upload_bytes
        upload = await receive(request.stream(), filename or "import", caller.key_id, limit)
        body = AdaptBody(upload=upload.id, speaker=speaker, base=base)
        if consent:
            await run_in_threadpool(note_consent, services.database, name, caller.key_id)
        job, waits = await run_in_threadpool(_submitted_import, services, name, upload, body)
    except BaseException:
        if upload is not None:
            await run_in_threadpool(discard, upload)
        if new:
            await run_in_threadpool(release, services, name)
        raise
    if not waits or not await _ended(job):
        response.status_code = 202
        return {"job": job.id, "name": name}
    outcome = job.events[-1].data
    if job.state != "done":
        raise error_of(outcome) if "problems" in outcome else ConfigError("the import was cancelled", code="cancelled")
    response.status_code = 201 if outcome["changed"] else 200
    return {"name": name, "imported": outcome["changed"], "earlier": outcome["earlier"]}


async def _source(services: Services, caller: Caller, body: AdaptBody) -> tuple[Upload, AdaptBody]:
    """Return the upload to read, made of a text or a chat where these are given, and the body with what follows."""
    if body.upload is not None:
        return await run_in_threadpool(find_upload, body.upload, caller.key_id), body
    if body.text is not None:
        pieces = _pieces(body.text)
        return await receive(pieces, "pasted.txt", caller.key_id, services.settings.http.paste_bytes), body
    chat_id = str(body.chat)
    chat = await run_in_threadpool(chat_of, services.database, caller.key_id, chat_id)
    messages = await run_in_threadpool(messages_of, services.database, caller.key_id, chat_id)
    dialogues = chat_dialogues(chat, messages, only_good=body.only_good)
    pieces = _pieces("".join(map(render, dialogues)))
    upload = await receive(pieces, f"{chat['persona']}.jsonl", caller.key_id, services.settings.http.paste_bytes)
    k = body.k or min(USUAL_SHOTS, len(dialogues))
    return upload, body.model_copy(update={"speaker": body.speaker or chat["persona"], "k": k})


async def _pieces(text: str) -> AsyncIterator[bytes]:
    yield text.encode(errors="replace")


def _assignments(body: AdaptBody) -> list[str]:
    """Return settings as ``path=value``; ConfigError with all that are none, out of range, or of another base."""
    problems = []
    for path, value in body.settings.items():
        if path not in SETTINGS:
            known = ", ".join(SETTINGS)
            problems.append(Problem("unknown_setting", f"settings: {shown(path)} may not be set; known: {known}"))
        elif not SETTINGS[path][0] <= value <= SETTINGS[path][1] or (path in COUNTS and value != int(value)):
            low, high = SETTINGS[path]
            problems.append(Problem("invalid_value", f"settings: {path}: {value:g} is not within {low:g} to {high:g}"))
    if body.base not in persona_store.BUILT_IN:
        known = ", ".join(sorted(persona_store.BUILT_IN))
        problems.append(Problem("unknown_base", f"base: {shown(body.base)} is not known by name; known: {known}"))
    if problems:
        raise ConfigError.of(problems)
    return [f"{path}={int(value) if path in COUNTS else value!r}" for path, value in body.settings.items()]


def _submitted(services: Services, name: str, upload: Upload, body: AdaptBody, assignments: list[str]) -> AdaptationJob:
    """Submit the job of an upload; the upload goes where that is refused, unless it was there before."""
    plain = body.model_dump(include={"speaker", "pick", "format", "more", "remember", "base", "method"})
    own = {"k": body.k or USUAL_SHOTS, "replace_old": body.replace, "assignments": assignments}
    arguments: dict[str, Any] = {"name": name, "file": str(upload.path), "filename": upload.filename}
    arguments["reading"] = body.reading.model_dump()
    arguments["settings"] = {**plain, **own, "device": services.settings.device}
    try:
        return services.jobs.submit(_request(services, name, upload, WorkerTask("adapt", arguments)))
    except BaseException:
        if body.upload is None:
            discard(upload)
        raise


def _submitted_import(services: Services, name: str, upload: Upload, body: AdaptBody) -> tuple[AdaptationJob, bool]:
    """Submit the job of an import, and return whether it is one to wait for: weights that are only checked."""
    kind = kind_of(upload.path, upload.filename)
    if kind == "chat":
        assignments = _assignments(body)
        errors = preview_of(upload, body.reading.model_dump())["problems"]
        if found := [one for one in errors if one["level"] == "error"]:
            raise error_of({"error": "DataError", "problems": found})
        return _submitted(services, name, upload, body, assignments), False
    arguments = {"name": name, "file": str(upload.path)}
    if kind == "peft":
        _assignments(body)
        folder = upload.folder / "peft"
        unpack_peft(upload.path, folder)
        arguments = {"name": name, "folder": str(folder), "base": body.base}
    task = WorkerTask("import_package" if kind == "package" else "import_peft", arguments)
    return services.jobs.submit(_request(services, name, upload, task)), True


def _request(services: Services, name: str, upload: Upload, task: WorkerTask) -> JobRequest:
    def end() -> None:
        discard(upload)
        release(services, name)

    return JobRequest(task, upload.owner, name, upload.under_sent_name, end)


async def _ended(job: AdaptationJob) -> bool:
    """Wait for a job as long as a client would; return whether it has ended."""
    try:
        async with asyncio.timeout(IMPORT_SECONDS):
            async for _ in job.follow():
                pass
    except TimeoutError:
        return False
    return job.state in ENDED
