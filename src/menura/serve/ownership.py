"""Which personas a caller may use: those that fit its patterns, and those that were made with its key."""

from difflib import get_close_matches

from fastapi import Request

from menura.artefacts import persona_store
from menura.errors import ConfigError, shown
from menura.serve.database import persona_notes, persona_owners
from menura.serve.http.caller import Caller
from menura.serve.services import Services, services_of

STALE_SECONDS = 3600.0  # after which a name whose persona is not there, and is not being made, is free again


def check_workspace(request: Request) -> None:
    """Raise ConfigError ``read_only`` where the personas are those of a shared store, which no server changes."""
    if services_of(request).settings.store:
        message = "these personas are in a shared store, which this server only reads"
        raise ConfigError(message, hint="change them where the store is filled", code="read_only")


def may_use(services: Services, caller: Caller, name: str) -> bool:
    """Return whether a caller may use a persona of this name, or a version of it (``anna@1``)."""
    if caller.may_use(name):
        return True
    persona = name.partition("@")[0]
    return bool(caller.key_id) and persona_owners.owner_of(services.database, persona) == caller.key_id


def usable_names(services: Services, caller: Caller) -> list[str]:
    """Return the names of the personas that a caller may use, sorted."""
    shared = services.settings.store
    names = (
        persona_store.names() if not shared else sorted(one.name for one in services.engine.served() if one.is_persona)
    )
    if caller.all_personas:
        return names
    own = persona_owners.owned(services.database, caller.key_id) if caller.key_id else set()
    return [name for name in names if name in own or caller.may_use(name)]


def unknown_persona(services: Services, caller: Caller, name: str) -> ConfigError:
    """Return the error for a persona that is not there, or is another's: the same words for both."""
    near = get_close_matches(name[:64], usable_names(services, caller), n=1)
    hint = f"did you mean {near[0]}?" if near else ""
    return ConfigError(f"unknown persona {shown(name)}", hint=hint, code="model_not_found")


def check_persona_name(services: Services, caller: Caller, name: str) -> None:
    """Raise ``unknown_persona`` unless it is the name of a persona, not of a version, that the caller may use."""
    if not persona_store.NAME.fullmatch(name) or not may_use(services, caller, name):
        raise unknown_persona(services, caller, name)


def check_persona(services: Services, caller: Caller, name: str) -> None:
    """Raise ``unknown_persona`` unless there is a persona of this name and the caller may use it."""
    check_persona_name(services, caller, name)
    if not persona_store.path_of(name).exists():
        raise unknown_persona(services, caller, name)


def check_model(services: Services, caller: Caller, name: str) -> None:
    """Raise ``unknown_persona`` unless the name is a base's, or that of a persona or version the caller may use."""
    if not (persona_store.NAME.fullmatch(name) or persona_store.VERSIONED.fullmatch(name)):
        raise unknown_persona(services, caller, name)
    if name not in persona_store.BUILT_IN and not may_use(services, caller, name):
        raise unknown_persona(services, caller, name)
    try:
        services.engine.find(name)
    except ConfigError as error:  # its hint may have the name of another's persona
        raise unknown_persona(services, caller, name) from error


def claim(services: Services, caller: Caller, name: str) -> bool:
    """Reserve the name of a persona that is about to be made, and return whether it is a new one.

    Raises ConfigError: ``bad_name`` for one that no persona may have, ``name_taken`` where another key has made the
    persona or is making it, ``rate_limit_exceeded`` where the key has made as many as it may.
    """
    persona_store.check_new(name)
    there = persona_store.path_of(name).exists()
    database = services.database
    if there and may_use(services, caller, name):
        return False
    if not there and not services.jobs.working_on(name):
        persona_owners.forget_stale(database, name, STALE_SECONDS)
    limit = services.settings.jobs.personas_per_key
    if caller.key_id and len(persona_owners.owned(database, caller.key_id)) >= limit:
        message = f"this key has made {limit:,} personas, as many as it may"
        raise ConfigError(message, hint="delete some of them", code="rate_limit_exceeded")
    if there or persona_owners.note_owner(database, name, caller.key_id) != caller.key_id:
        raise ConfigError(f"the name {shown(name)} is taken", hint="choose another name", code="name_taken")
    persona_notes.forget(database, name)  # of one of this name that another program deleted
    return True


def release(services: Services, name: str) -> None:
    """Give back a name that was reserved for a persona which was then not made."""
    if not persona_store.path_of(name).exists():
        persona_owners.forget_owner(services.database, name)
