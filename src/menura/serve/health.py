"""How the server is becomes a word for probes, and numbers for Prometheus."""

from collections.abc import Iterator

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from menura.errors import UnavailableError
from menura.serve.http.traffic import Traffic
from menura.serve.services import services_of

router = APIRouter(tags=["health"])
GAUGES = {
    "running": "Requests that the engine runs.",
    "waiting": "Requests that wait for the engine.",
    "slots": "Rows that the engine's batch has.",
    "resident_personas": "Personas in memory.",
    "resident_bytes": "Bytes of personas in memory.",
}


@router.get("/healthz")
@router.get("/health")
@router.get("/v1/health")
async def health() -> dict[str, str]:
    """Answer as long as the process can."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "starting, stopping, or without an engine"}})
async def ready(request: Request) -> dict[str, str]:
    """Answer 200 if requests for replies are taken, 503 if not."""
    traffic: Traffic = request.app.state.traffic
    if traffic.draining or not services_of(request).engine.state().alive:
        raise UnavailableError("no requests for replies are taken now")
    return {"status": "ready"}


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Return what Prometheus reads: no name, no text, no key of anybody."""
    text = "\n".join(_lines(request)) + "\n"
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _lines(request: Request) -> Iterator[str]:
    state = services_of(request).engine.state()
    traffic: Traffic = request.app.state.traffic
    for name, about in GAUGES.items():
        yield from _metric(name, "gauge", about, {"": getattr(state, name)})
    yield from _metric("engine_alive", "gauge", "Whether the engine runs.", {"": int(state.alive)})
    yield from _metric("tokens_total", "counter", "Tokens generated.", {"": state.tokens})
    outcomes = {f'{{outcome="{outcome}"}}': count for outcome, count in sorted(state.counts.items())}
    yield from _metric("engine_requests_total", "counter", "Requests to the engine by outcome.", outcomes)
    counts = {
        f'{{method="{method}",path="{path}",status="{status}"}}': count
        for (method, path, status), count in sorted(traffic.counts.items())
    }
    yield from _metric("http_requests_total", "counter", "HTTP requests by route and status.", counts)


def _metric(name: str, kind: str, about: str, values: dict[str, int]) -> Iterator[str]:
    yield f"# HELP menura_{name} {about}"
    yield f"# TYPE menura_{name} {kind}"
    yield from (f"menura_{name}{labels} {value}" for labels, value in values.items())
