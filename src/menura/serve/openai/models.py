"""The list of personas and bases in OpenAI's form, and which of them a caller sees."""

from collections.abc import Iterator
from difflib import get_close_matches
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.requests import Request

from menura.errors import ConfigError, RequestError, shown
from menura.serve.generation import ServedModel
from menura.serve.http.caller import Caller, caller_of
from menura.serve.openai.replies import ERRORS
from menura.serve.services import Services, services_of
from menura.serve.settings import HttpLimits

router = APIRouter(tags=["openai"], responses=ERRORS)
MOST = HttpLimits().listed_models
NEAREST = 3
Limit = Annotated[int, Query(ge=1, le=MOST, description="At most so many.")]
After = Annotated[str, Query(max_length=256, description="Those after this name, in the order of names.")]


@router.get("/v1/models")
async def list_models(request: Request, limit: Limit = MOST, after: After = "") -> dict[str, Any]:
    """List the personas and bases that the key may use, by name."""
    models = visible(services_of(request), caller_of(request))
    rows = (_row(model) for model in models if model.name > after)
    found = list(islice(rows, limit + 1))
    return {"object": "list", "data": found[:limit], "has_more": len(found) > limit}


@router.get("/v1/models/{name:path}")
async def show_model(request: Request, name: str) -> dict[str, Any]:
    """Show one persona, one version of it (``anna@1``), or one base."""
    return _row(model_of(services_of(request), caller_of(request), name))


def visible(services: Services, caller: Caller) -> Iterator[ServedModel]:
    """Yield what a caller may use, by name."""
    models = sorted(services.engine.served(), key=lambda model: model.name)
    if caller.all_personas:
        return iter(models)
    others = _bases(services) | _made_with(services, caller)
    return (model for model in models if caller.may_use(model.name) or model.name in others)


def model_of(services: Services, caller: Caller, name: str) -> ServedModel:
    """Return a model by name; RequestError ``model_not_found``, in the same words, for none and for another's."""
    try:
        model = services.engine.find(name)
    except ConfigError as error:
        if error.problems[0].code != "model_not_found":
            raise
    else:
        persona = model.name.partition("@")[0]
        if caller.may_use(persona) or persona in _bases(services) | _made_with(services, caller):
            return model
    names = [one.name for one in visible(services, caller)]
    near = get_close_matches(name[:256], names, n=NEAREST)
    hint = f"did you mean {', '.join(near)}?" if near else "GET /v1/models lists them"
    raise RequestError(f"no model {shown(name)}", code="model_not_found", place="model", hint=hint)


def _made_with(services: Services, caller: Caller) -> frozenset[str]:
    """Return the names of the personas that were made with a caller's key, which the database knows."""
    if services.database is None or not caller.key_id:
        return frozenset()
    return frozenset(services.database.personas_of(caller.key_id))


def _bases(services: Services) -> frozenset[str]:
    """Return the names of bases, which are nobody's."""
    parents = (model.parent for model in services.engine.served() if model.parent)
    return frozenset(parents) | frozenset(services.engine.state().models)


def _row(model: ServedModel) -> dict[str, Any]:
    parent = model.parent or None
    return {"id": model.name, "object": "model", "created": model.created, "owned_by": "menura", "parent": parent}
