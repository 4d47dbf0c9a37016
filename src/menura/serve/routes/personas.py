"""``/api/personas``: which there are, what is known of each; renamed, deleted, exported, and what they remember."""

import secrets
import shutil
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as PathParameter
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask
from starlette.responses import FileResponse

from menura import api
from menura.artefacts import persona_store
from menura.artefacts.files import home
from menura.errors import BusyError, ConfigError, shown
from menura.serve.database import persona_notes, persona_owners
from menura.serve.http.caller import Caller, caller_of
from menura.serve.jobs.process import WorkerTask, result_of
from menura.serve.ownership import check_persona, check_workspace, claim, may_use, release, usable_names
from menura.serve.services import Services, services_of
from menura.serve.uploads import FOLDER

CHANGED_HERE = [Depends(check_workspace)]
router = APIRouter(prefix="/api/personas", tags=["personas"])
CACHED_ROWS = 20_000
EXPORT_SECONDS = 300.0
CardForm = Literal["charx", "png", "json", "peft"]
Limit = Annotated[int, Query(ge=1, le=500)]
MOST_TAGS = 16
Tag = Annotated[
    str, Field(min_length=1, max_length=32, pattern=r"^[^\s,\x00-\x1f\x7f]([^,\x00-\x1f\x7f]*[^\s,\x00-\x1f\x7f])?$")
]
MEDIA: Mapping[str, str] = {
    "charx": "application/zip",
    "peft": "application/zip",
    "png": "image/png",
    "json": "application/json",
}


class PersonaChanges(BaseModel):
    """What of a persona changes: its name, its tags, or both."""

    model_config = ConfigDict(extra="forbid", strict=True)
    name: str | None = Field(default=None, max_length=64)
    tags: list[Tag] | None = Field(default=None, max_length=MOST_TAGS)


class BackBody(BaseModel):
    """The version to go back to; the one before the current one where none is given."""

    model_config = ConfigDict(extra="forbid", strict=True)
    version: int | None = Field(default=None, ge=1, lt=2**31)


class _Rows:
    """Rows of the list, kept until their file changes: reading thousands of packages takes seconds."""

    def __init__(self) -> None:
        self._rows: OrderedDict[Path, tuple[tuple[int, int, int], dict[str, Any]]] = OrderedDict()

    def row(self, name: str, version: int) -> dict[str, Any] | None:
        """Return the row of a persona; None where it was deleted meanwhile."""
        path = persona_store.path_of(name)
        try:
            stat = path.stat()
            key = (stat.st_mtime_ns, stat.st_size, version)
            known = self._rows.get(path)
            row = known[1] if known and known[0] == key else api.persona_row(name, version)
        except FileNotFoundError:
            self._rows.pop(path, None)
            return None
        self._rows[path] = (key, row)
        self._rows.move_to_end(path)
        while len(self._rows) > CACHED_ROWS:
            self._rows.popitem(last=False)
        return row


_rows = _Rows()


@router.get("")
def list_personas(
    request: Request,
    q: Annotated[str, Query(max_length=128)] = "",
    limit: Limit = 50,
    after: Annotated[str, Query(max_length=64)] = "",
    tag: Annotated[str, Query(max_length=32)] = "",
) -> dict[str, Any]:
    """List the personas whose names or tags hold ``q`` and that have the ``tag``, by name.

    ``next`` is the ``after`` of the next page, if there is one. One whose file is damaged has ``error`` in place of
    what is known of it.
    """
    services, caller = services_of(request), caller_of(request)
    names = _searched(services, usable_names(services, caller), q, tag)
    page = [name for name in names if name > after][: limit + 1]
    if services.settings.store:
        rows: list[dict[str, Any]] = [{"name": name} for name in page[:limit]]
    else:
        versions = persona_store.current_versions()
        services.last_use.write()
        noted = persona_notes.noted(services.database, page[:limit])
        rows = [{**row, **noted[name]} for name in page[:limit] if (row := _rows.row(name, versions.get(name, 1)))]
    following = page[limit - 1] if len(page) > limit else None
    return {"personas": rows, "total": len(names), "next": following}


def _searched(services: Services, names: Sequence[str], query: str, tag: str) -> list[str]:
    if not query and not tag:
        return list(names)
    tags = persona_notes.tags_of(services.database)
    text = query.casefold()
    found = (name for name in names if not tag or tag in tags.get(name, ()))
    return [name for name in found if any(text in one.casefold() for one in (name, *tags.get(name, ())))]


@router.get("/{name}", dependencies=CHANGED_HERE)
def show_persona(request: Request, name: str) -> dict[str, Any]:
    """Return how a persona was made, how it did on held-out dialogues, and its versions, the oldest first."""
    services = services_of(request)
    check_persona(services, caller_of(request), name)
    facts = {key: value for key, value in api.persona_facts(name).items() if key != "path"}
    history = [{key: value for key, value in one.items() if key != "path"} for one in api.persona_history(name)]
    services.last_use.write()
    noted = persona_notes.noted(services.database, [name])[name]
    noted["consent_given"] = persona_notes.consent_of(services.database, name)
    version, adapting = history[-1]["version"], services.jobs.working_on(name)
    return {**facts, "version": version, "history": history, "adapting": adapting, **noted}


@router.patch("/{name}", dependencies=CHANGED_HERE)
def change_persona(request: Request, name: str, body: PersonaChanges) -> dict[str, Any]:
    """Give a persona other tags, or, with all its versions and chats, another name."""
    services, caller = services_of(request), caller_of(request)
    check_persona(services, caller, name)
    if body.name is not None:
        _rename(services, caller, name, body.name)
    called = body.name or name
    if body.tags is not None:
        persona_notes.set_tags(services.database, called, body.tags)
    return {"name": called, "tags": persona_notes.tags_of(services.database).get(called, [])}


def _rename(services: Services, caller: Caller, name: str, new: str) -> None:
    _check_idle(services, name)
    if persona_store.path_of(new).exists():
        raise ConfigError(f"the name {shown(new)} is taken", hint="choose another name", code="name_taken")
    claim(services, caller, new)
    try:
        api.rename_persona(name, new)
    finally:
        release(services, new)
    persona_owners.rename_persona(services.database, name, new)


@router.post("/{name}/back", dependencies=CHANGED_HERE)
def take_back(request: Request, name: str, body: BackBody) -> dict[str, Any]:
    """Make an earlier version of a persona the current one; the current one stays, as an earlier version."""
    services = services_of(request)
    check_persona(services, caller_of(request), name)
    _check_idle(services, name)
    version, saved = api.back(name, body.version)
    return {"name": name, "version": version, "earlier": saved.earlier, "changed": saved.changed}


@router.delete("/{name}", dependencies=CHANGED_HERE, status_code=204)
def delete_persona(request: Request, name: str, chats: bool = False) -> Response:
    """Delete a persona, all its versions and what it remembers; with ``chats`` also what the caller said to it.

    One that is not there is no error.
    """
    services, caller = services_of(request), caller_of(request)
    if persona_store.NAME.fullmatch(name) and may_use(services, caller, name):
        services.jobs.cancel_all_of(name)
        api.delete_persona(name)
        persona_owners.forget_persona(services.database, name, caller.key_id if chats else None)
    return Response(status_code=204)


@router.get("/{name}/export", dependencies=CHANGED_HERE)
def export_persona(
    request: Request, name: str, form: Annotated[CardForm, Query(alias="format")] = "charx", with_memory: bool = False
) -> FileResponse:
    """Return a persona as a file: a card with its weights (charx) or alone (png, json), or a zip of peft's folder.

    ``with_memory`` puts what the persona remembers, word for word, into a charx.
    """
    services = services_of(request)
    check_persona(services, caller_of(request), name)
    folder = home() / FOLDER / secrets.token_hex(16)  # where what a killed server leaves is deleted after a day
    folder.mkdir(parents=True, mode=0o700)
    try:
        if form == "peft":
            arguments = {"name": name, "folder": str(folder)}
            path = Path(result_of(WorkerTask("export_peft", arguments), EXPORT_SECONDS)["path"])
        else:
            path = api.export_persona(name, form, folder / f"{name}.{form}", with_memory=with_memory, offline=True).path
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    called = f"{name}-peft.zip" if form == "peft" else f"{name}.{form}"
    cleaning = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(path, media_type=MEDIA[form], filename=called, background=cleaning)


@router.get("/{name}/memory", dependencies=CHANGED_HERE)
def show_memory(
    request: Request,
    name: str,
    line: Annotated[str, Query(alias="for", max_length=4096)] = "",
    limit: Limit = 100,
    after: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """Return the exchanges that a persona remembers; with ``for`` those that this line would recall, the best first."""
    services = services_of(request)
    check_persona(services, caller_of(request), name)
    try:
        found = api.persona_memory(name, line)
    except ConfigError as error:
        if error.problems[0].code != "no_memory":
            raise
        found = []
    page = found[:limit] if line else [one for one in found if one["number"] > after][:limit]
    return {"exchanges": page, "total": len(found)}


@router.delete("/{name}/memory", dependencies=CHANGED_HERE, status_code=204)
def clear_memory(request: Request, name: str) -> Response:
    """Forget all that a persona remembers, in all its versions."""
    return _forget(request, name, clear=True)


@router.delete("/{name}/memory/{number}", dependencies=CHANGED_HERE, status_code=204)
def forget_exchange(request: Request, name: str, number: Annotated[int, PathParameter(ge=1, lt=2**31)]) -> Response:
    """Forget one exchange, in all versions; those behind it move up by one number."""
    return _forget(request, name, number=number)


def _forget(request: Request, name: str, *, number: int = 0, clear: bool = False) -> Response:
    services = services_of(request)
    check_persona(services, caller_of(request), name)
    _check_idle(services, name)
    try:
        api.change_memory(name, forget=() if clear else (number,), clear=clear)
    except ConfigError as error:  # deleting what is not there is no error
        if error.problems[0].code not in ("no_memory", "unknown_exchange"):
            raise
    return Response(status_code=204)


def _check_idle(services: Services, name: str) -> None:
    """Raise BusyError while a job makes a new version of a persona."""
    if services.jobs.working_on(name):
        raise BusyError(f"persona {shown(name)} is being adapted", hint="wait for that job, or cancel it")
