"""``/api/runs``: the tables of evaluations, for whoever may use all personas."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from menura.serve.database.chats import unknown
from menura.serve.evaluations import evaluations, table_of
from menura.serve.http.caller import caller_of

router = APIRouter(prefix="/api/runs", tags=["runs"])


@router.get("")
def list_runs(
    request: Request,
    q: Annotated[str, Query(max_length=128)] = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    after: Annotated[str, Query(max_length=32)] = "",
) -> dict[str, Any]:
    """List the evaluations whose name holds ``q``, the latest first; none for a key of some personas alone."""
    found = evaluations() if caller_of(request).all_personas else []
    found = [one for one in found if q.casefold() in one["name"].casefold()]
    ids = [one["id"] for one in found]
    start = ids.index(after) + 1 if after in ids else 0
    page = found[start : start + limit]
    more = start + limit < len(found)
    return {"runs": page, "total": len(found), "next": page[-1]["id"] if more else None}


@router.get("/{run_id}/metrics")
def show_metrics(request: Request, run_id: str) -> dict[str, Any]:
    """Return the table of an evaluation: each system's scores with intervals, and paired differences."""
    if not caller_of(request).all_personas:
        raise unknown("run")
    return table_of(run_id)
