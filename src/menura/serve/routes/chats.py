"""``/api/chats``: chats with personas are kept, rated, exported and deleted."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from menura.artefacts import persona_store
from menura.corpus.jsonl import render
from menura.errors import ConfigError
from menura.serve.chat_dialogues import chat_dialogues, chat_text
from menura.serve.database import chats
from menura.serve.http.caller import caller_of
from menura.serve.ownership import check_model
from menura.serve.routes.sampling_body import TURN_CHARACTERS, TurnBody
from menura.serve.services import services_of

router = APIRouter(prefix="/api/chats", tags=["chats"])
TITLE_LIMIT = 200
Limit = Annotated[int, Query(ge=1, le=500)]


class NewChatBody(BaseModel):
    """With whom a chat begins: a persona, a version of one, or a base."""

    model_config = ConfigDict(extra="forbid", strict=True)
    persona: str = Field(max_length=72)
    title: str = Field(default="", max_length=TITLE_LIMIT)


class TitleBody(BaseModel):
    """The new title of a chat."""

    model_config = ConfigDict(extra="forbid", strict=True)
    title: str = Field(max_length=TITLE_LIMIT)


class MessageChanges(BaseModel):
    """What of a message changes: its rating (null takes it back), its text, or which candidate it is."""

    model_config = ConfigDict(extra="forbid", strict=True)
    rating: Literal["good", "bad"] | None = None
    text: str | None = Field(default=None, min_length=1, max_length=TURN_CHARACTERS)
    candidate: int | None = Field(default=None, ge=0)


@router.post("", status_code=201)
def begin_chat(request: Request, body: NewChatBody) -> dict[str, Any]:
    """Begin a chat."""
    services, caller = services_of(request), caller_of(request)
    check_model(services, caller, body.persona)
    name, _, version = body.persona.partition("@")
    there = persona_store.path_of(name).exists()
    number = int(version) if version else persona_store.current_version(name) if there else 0
    return chats.new_chat(services.database, caller.key_id, body.persona, number, body.title)


@router.get("")
def list_chats(
    request: Request,
    persona: Annotated[str, Query(max_length=72)] = "",
    q: Annotated[str, Query(max_length=128)] = "",
    limit: Limit = 50,
    after: Annotated[str, Query(max_length=32)] = "",
) -> dict[str, Any]:
    """List the caller's chats, the latest first; ``q`` is part of a title."""
    database, owner = services_of(request).database, caller_of(request).key_id
    found = chats.page_of_chats(database, owner, limit + 1, persona=persona, query=q, after=after)
    return {"chats": found[:limit], "next": found[limit - 1]["id"] if len(found) > limit else None}


@router.get("/{chat_id}")
def show_chat(request: Request, chat_id: str) -> dict[str, Any]:
    """Return a chat with its messages."""
    database, owner = services_of(request).database, caller_of(request).key_id
    chat = chats.chat_of(database, owner, chat_id)
    return {**chat, "messages": chats.messages_of(database, owner, chat_id)}


@router.patch("/{chat_id}")
def rename_chat(request: Request, chat_id: str, body: TitleBody) -> dict[str, Any]:
    """Change a chat's title."""
    database, owner = services_of(request).database, caller_of(request).key_id
    chats.rename_chat(database, owner, chat_id, body.title)
    return chats.chat_of(database, owner, chat_id)


@router.delete("/{chat_id}", status_code=204)
def delete_chat(request: Request, chat_id: str) -> Response:
    """Delete a chat with its messages; one that is not there is no error."""
    chats.delete_chat(services_of(request).database, caller_of(request).key_id, chat_id)
    return Response(status_code=204)


@router.get("/{chat_id}/export")
def export_chat(
    request: Request,
    chat_id: str,
    form: Annotated[Literal["jsonl", "text"], Query(alias="format")] = "jsonl",
    only_good: bool = False,
) -> Response:
    """Return a chat as lines that ``menura adapt`` reads, or as text; ``only_good`` learns from good replies alone."""
    database, owner = services_of(request).database, caller_of(request).key_id
    chat, messages = chats.chat_of(database, owner, chat_id), chats.messages_of(database, owner, chat_id)
    if form == "text":
        content, ending = chat_text(chat, messages), "txt"
    else:
        content, ending = "".join(map(render, chat_dialogues(chat, messages, only_good=only_good))), "jsonl"
    headers = {"Content-Disposition": f'attachment; filename="chat-{chat_id}.{ending}"'}
    media = "text/plain" if form == "text" else "application/jsonl"
    return Response(content.encode(errors="replace"), media_type=f"{media}; charset=utf-8", headers=headers)


@router.get("/{chat_id}/messages")
def list_messages(
    request: Request, chat_id: str, limit: Limit = 500, after: Annotated[int, Query(ge=-1)] = -1
) -> dict[str, Any]:
    """Return the messages of a chat behind the place ``after``, in order."""
    database, owner = services_of(request).database, caller_of(request).key_id
    found = [one for one in chats.messages_of(database, owner, chat_id) if one["place"] > after]
    return {"messages": found[:limit], "next": found[limit - 1]["place"] if len(found) > limit else None}


@router.post("/{chat_id}/messages", status_code=201)
def add_message(request: Request, chat_id: str, body: TurnBody) -> dict[str, Any]:
    """Put a message behind the others, without asking the persona for a reply."""
    database, owner = services_of(request).database, caller_of(request).key_id
    message = chats.NewMessage("persona" if body.role == "persona" else "user", body.text)
    return chats.add_message(database, owner, chat_id, message)


@router.patch("/{chat_id}/messages/{place}")
def change_message(request: Request, chat_id: str, place: int, body: MessageChanges) -> dict[str, Any]:
    """Rate a message, change its text, or choose another of its candidates; all that is given changes."""
    database, owner = services_of(request).database, caller_of(request).key_id
    message = chats.message_of(database, owner, chat_id, place)
    changes: dict[str, str | None] = {}
    if "rating" in body.model_fields_set:
        if message["role"] != "persona":
            raise ConfigError("rating: only a persona's messages are rated", code="invalid_value")
        changes["rating"] = body.rating
    if body.text is not None:
        changes["text"] = body.text
    if body.candidate is not None:
        if body.candidate >= len(message["candidates"]):
            there = len(message["candidates"])
            raise ConfigError(f"candidate: {body.candidate}, and there are {there}, from 0", code="invalid_value")
        changes["text"] = message["candidates"][body.candidate]
    return chats.change_message(database, owner, chat_id, place, changes)


@router.delete("/{chat_id}/messages/{place}", status_code=204)
def delete_messages(request: Request, chat_id: str, place: int) -> Response:
    """Delete a message and all behind it, so that the chat goes on from before it."""
    chats.delete_messages(services_of(request).database, caller_of(request).key_id, chat_id, place)
    return Response(status_code=204)
