"""What stands in for ``/api``: each text that it gives is one that would run in a page which took it for markup."""

import json
from collections.abc import AsyncIterator, Iterator
from itertools import cycle
from typing import Any

from fastapi import APIRouter, Request
from payloads import PAYLOADS
from starlette.responses import JSONResponse, Response, StreamingResponse

router = APIRouter()
_next = cycle(PAYLOADS)
CHECK = {
    "dialogues": 2,
    "replies": 9,
    "ppl_before": 9.0,
    "ppl_after": 8.0,
    "likelier": -0.1,
    "likelier_interval": [-0.2, 0.1],
}
BY_BYTES, PIECE = 12_000, 61
EVIL = PAYLOADS[47]


def text() -> str:
    return next(_next)


def row(name: str) -> dict[str, Any]:
    facts = {"name": name, "version": 2, "base": text(), "speaker": text(), "replies": 3, "made": text(), "bytes": 9}
    facts |= {"tags": [text()], "last_used": text()}
    return facts | ({"error": text()} if len(name) % 7 == 0 else {})


def message(place: int, said: str) -> dict[str, Any]:
    role = "persona" if place % 2 else "user"
    several = {"candidates": [said, text(), text()], "scores": [0.3, 0.2, 0.1], "recalled": [[text(), text()]]}
    about = {"place": place, "role": role, "text": said, "rating": None, "version": 1, "finished": True, "created": 1.0}
    return {**about, **(several if place % 2 else {"candidates": [], "scores": [], "recalled": []})}


def sent(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


async def by_bytes(events: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Give a stream that is cut at every byte first, and then in the middle of characters, lines and events."""
    whole = b"".join(events)
    for place in range(BY_BYTES):
        yield whole[place : place + 1]
    for place in range(BY_BYTES, len(whole), PIECE):
        yield whole[place : place + PIECE]


def stream(*events: bytes) -> StreamingResponse:
    return StreamingResponse(by_bytes(iter(events)), media_type="text/event-stream")


@router.get("/api/personas")
def personas() -> Any:
    return {"personas": [row(name) for name in PAYLOADS], "total": len(PAYLOADS), "next": EVIL}


@router.get("/api/personas/{name:path}/memory")
def memory(name: str) -> Any:
    exchanges = [
        {"number": place, "dialogue": "d", "before": text(), "reply": text()} for place in range(len(PAYLOADS))
    ]
    return {"exchanges": exchanges, "total": len(exchanges)}


@router.get("/api/personas/{name:path}")
def facts(name: str) -> Any:
    found: dict[str, Any] = {key: text() for key in ("base", "speaker", "pick", "method", "made")}
    found |= {"name": EVIL, "version": 1, "replies": 3, "dialogues": 2, "bytes": 9, "values": 9}
    found |= {"recipe": {"support_loss": [3, 2], "held_out": CHECK}, "files": [text()], "facts": list(PAYLOADS)}
    history = [
        {"version": place, "current": False, "made": text(), "error": each} for place, each in enumerate(PAYLOADS)
    ]
    found |= {"tags": list(PAYLOADS), "last_used": text(), "consent_given": text()}
    return {**found, "history": history, "check": [text()]}


@router.get("/api/runs")
def runs() -> Any:
    about = {"base": EVIL}
    rows = [{"id": "e" * 32, "name": name, "made": 1.0, "about": about, "systems": 2} for name in PAYLOADS]
    return {"runs": rows, "total": len(rows), "next": EVIL}


@router.get("/api/runs/{run_id}/metrics")
def metrics(run_id: str) -> Any:
    score = {"value": 1.5, "low": 1.0, "high": 2.0, "better": EVIL, "p": 0.5, "unit": EVIL}
    # A few of each, as the test opens all runs at once.
    rows = [{"label": text(), "notes": text(), "scores": {EVIL: score}} for _ in range(2)]
    differences = [{"ours": text(), "theirs": text(), "scores": {EVIL: score}} for _ in range(2)]
    about = {text(): text()}
    return {"about": about, "metrics": [EVIL], "rows": rows, "differences": differences}


@router.delete("/api/personas/{name:path}")
@router.patch("/api/personas/{name:path}")
@router.post("/api/personas/{name:path}")
def refused(name: str, request: Request) -> Response:
    if name.endswith("/adapt"):
        return JSONResponse({"job": "a" * 32}, 202)
    body = {"detail": text(), "code": text(), "errors": [{"detail": text()}]}
    return JSONResponse(body, 422, media_type="application/problem+json")


@router.post("/api/uploads")
def upload() -> Any:
    problem = {"level": "warn", "code": text(), "hint": text(), "count": 2, "file": text(), "line": 1}
    kinds = {kind: {text(): 2} for kind in ("dropped", "changed", "context_only", "private")}
    turns = [{"speaker": text(), "text": said, "learnt": True} for said in PAYLOADS]
    preview = {
        "files": [{"name": text(), "format": text(), "title": text(), "turns": 3, "dialogues": 2, **kinds}],
        "facts": list(PAYLOADS),
        "speakers": [{"name": name, "turns": 2, "replies": 2, "dialogues": 7} for name in PAYLOADS],
        "dialogues": [turns],
        "errors": 0,
        "problems": [{**problem, "message": said} for said in PAYLOADS],
        "problems_left_out": 3,
        "suggested": {"speaker": EVIL, "name": "anna"},
    }
    return {"id": "b" * 32, "filename": text(), "bytes": 9, "preview": preview}


@router.delete("/api/uploads/{upload_id}")
def forget_upload(upload_id: str) -> Response:
    return Response(status_code=204)


@router.get("/api/jobs")
def jobs() -> Any:
    return {
        "jobs": [{"id": "a", "persona": name, "state": "done", "created": text()} for name in PAYLOADS],
        "next": None,
    }


@router.get("/api/jobs/{job_id}/events")
def events(job_id: str) -> Response:
    said = [sent("said", {"line": line}) for line in PAYLOADS]
    step, check = sent("step", {"reply": 1, "replies": 2, "loss": 1.5}), sent("check", CHECK)
    problems = [{"code": text(), "message": said, "hint": text()} for said in PAYLOADS]
    return stream(
        sent("state", {"state": "running"}),
        *said,
        step,
        check,
        sent("state", {"state": "failed", "problems": problems}),
    )


@router.get("/api/chats")
def chats() -> Any:
    rows = [{"id": text(), "persona": text(), "title": each, "created": text(), "messages": 2} for each in PAYLOADS]
    return {"chats": rows, "next": EVIL}


@router.post("/api/chats")
def begin() -> Any:
    return {"id": "c" * 32, "persona": EVIL, "title": EVIL, "version": 1, "created": 1.0}


@router.get("/api/chats/{chat_id}/messages")
@router.get("/api/chats/{chat_id}")
def chat(chat_id: str) -> Any:
    return {"messages": [message(place, said) for place, said in enumerate(PAYLOADS)]}


@router.post("/api/chats/{chat_id}/reply")
def reply(chat_id: str) -> Response:
    whole = "".join(PAYLOADS)
    deltas = [sent("delta", {"index": 0, "text": character}) for character in whole]
    begun = sent("begun", {"model": EVIL, "version": 1, "notes": [text()], "recalled": []})
    return stream(begun, *deltas, sent("error", {"error": {"code": "x", "message": text(), "hint": text()}}))


@router.post("/api/compare")
def compare() -> Response:
    deltas = [sent("delta", {"lane": place % 2, "index": 0, "text": said}) for place, said in enumerate(PAYLOADS)]
    failed = sent("error", {"lane": 0, "error": {"code": "x", "message": EVIL, "hint": EVIL}})
    compared = sent("compared", {"id": "d", "lanes": 2, "models": None})
    return stream(compared, *deltas, failed, sent("ended", {"id": "d", "finished": True}))


@router.get("/api/compare/results")
def results() -> Any:
    counts = {"comparisons": 4, "wins": 1, "losses": 1, "ties": 1, "bad": 1}
    strength = {"value": 0.5, "low": 0.1, "high": 0.9}
    rows = [{"model": name, "strength": strength, **counts} for name in PAYLOADS]
    return {"models": rows, "votes": 4, "pairs": [], "note": EVIL}


@router.post("/api/compare/{comparison_id}/vote")
def vote(comparison_id: str) -> Any:
    return {"models": [EVIL, PAYLOADS[0]], "choice": "0"}
