"""Any error becomes a status and a body: OpenAI's under ``/v1``, problem details (RFC 9457) elsewhere."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import PurePath
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import compile_path

from menura.artefacts.files import home
from menura.corpus.strict_json import step
from menura.errors import (
    LISTED_AT_MOST,
    BusyError,
    ConfigError,
    DataError,
    MenuraError,
    MismatchError,
    NumericalError,
    Problem,
    RequestError,
    StorageError,
    UnsafeError,
    printable,
)

LOG = logging.getLogger("menura.serve")
STATUS = {
    **dict.fromkeys(
        ("invalid_request_error", "invalid_value", "unsupported_parameter", "context_length_exceeded", "truncated"), 400
    ),
    "invalid_api_key": 401,
    **dict.fromkeys(("cross_site", "read_only"), 403),
    **dict.fromkeys(("model_not_found", "not_found", "unknown_version"), 404),
    "method_not_allowed": 405,
    "too_slow": 408,
    **dict.fromkeys(
        ("base_mismatch", "persona_changed", "persona_damaged", "already_rated", "locked", "name_taken", "unfinished"),
        409,
    ),
    "closed": 410,
    **dict.fromkeys(("too_large", "card_bomb"), 413),
    "url_too_long": 414,
    **dict.fromkeys(("unsafe_format", "unsupported_media_type"), 415),
    "bad_host": 421,
    **dict.fromkeys(("schema", "json_limit", "jsonl_syntax", "encoding", "empty", "bad_name", "not_finite"), 422),
    **dict.fromkeys(("overloaded", "rate_limit_exceeded"), 429),
    "headers_too_large": 431,
    **dict.fromkeys(("internal", "engine_error"), 500),
    **dict.fromkeys(("unavailable", "storage_error", "out_of_memory"), 503),
    "storage_full": 507,
}
# The first class that fits; for codes that the table above does not have.
STATUS_OF_CLASS: Sequence[tuple[type[MenuraError], int]] = (
    (MismatchError, 409),
    (RequestError, 400),
    (ConfigError, 400),
    (DataError, 422),
    (UnsafeError, 415),
    (StorageError, 503),
    (NumericalError, 500),
    (BusyError, 409),
    (MenuraError, 500),
)
OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
RETRY_AFTER = {429: 1, 503: 5}  # seconds, where the error does not say
CODE_OF_STATUS = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
INTERNAL = "the server failed at this request; X-Request-Id names it in the server's log"


def is_openai(path: str) -> bool:
    """Return whether errors of a path have OpenAI's form."""
    return path == "/v1" or path.startswith("/v1/")


def status_of(error: MenuraError) -> int:
    """Return the HTTP status of an error: by its code, else by its class."""
    by_class = next(status for kind, status in STATUS_OF_CLASS if isinstance(error, kind))
    return STATUS.get(error.problems[0].code, by_class)


def openai_error(error: MenuraError) -> dict[str, Any]:
    """Return an error as ``{"error": {message, type, param, code}}``."""
    first, status = error.problems[0], status_of(error)
    kind = OPENAI_TYPES.get(status, "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "")
    param = first.place or None if isinstance(error, RequestError) else None
    message = "; ".join(_words(error, problem) for problem in error.problems[:LISTED_AT_MOST]) + _more(error)
    return {"error": {"message": message, "type": kind or "server_error", "param": param, "code": first.code}}


def problem_details(error: MenuraError) -> dict[str, Any]:
    """Return an error as problem details; ``errors`` has every problem, with its place as ``pointer``."""
    first, status = error.problems[0], status_of(error)
    listed = [_detail(problem) for problem in error.problems[:LISTED_AT_MOST]]
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _words(error, first) + _more(error),
        "code": first.code,
        "errors": listed,
    }


def error_response(error: MenuraError, path: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the reply to a request for ``path`` that ended in an error."""
    status = status_of(error)
    sent = dict(headers or {})
    if status in RETRY_AFTER:
        sent["Retry-After"] = str(getattr(error, "retry_after", None) or RETRY_AFTER[status])
    if status == HTTPStatus.UNAUTHORIZED:
        sent["WWW-Authenticate"] = "Bearer"
    body, kind = openai_error(error), "application/json"
    if not is_openai(path):
        body, kind = problem_details(error), "application/problem+json"
    return Response(orjson.dumps(body), status, sent, kind)


def internal_error() -> MenuraError:
    """Return what a client is told of a fault of ours: nothing but where to look."""
    return MenuraError(INTERNAL)


def install(app: FastAPI) -> None:
    """Let an app answer its errors in these forms; what nobody expected is the guard's to answer."""
    app.add_exception_handler(MenuraError, _menura_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)


async def _menura_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, MenuraError)
    if status_of(error) == HTTPStatus.INTERNAL_SERVER_ERROR:
        LOG.error("error", exc_info=error, extra={"request_id": request.state.request_id})
    return error_response(error, request.url.path)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    openai = is_openai(request.url.path)
    found = [_problem(one, error.body, openai=openai) for one in error.errors()]
    return error_response(RequestError.of(_innermost(found)), request.url.path)


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, MenuraError):  # FastAPI wraps what is raised while it reads a body
        return error_response(error.__cause__, request.url.path)
    code = CODE_OF_STATUS.get(error.status_code, "invalid_request_error")
    words = {404: f"nothing is at {printable(request.url.path[:80])}", 405: f"no {request.method[:16]} here"}
    message = words.get(error.status_code, HTTPStatus(error.status_code).phrase)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = _allowed(request, headers.get("Allow", ""))
    return error_response(RequestError(message, code=code), request.url.path, headers)


def _allowed(request: Request, known_to_one: str) -> str:
    """Return all methods of a path; the router names those of the first of its routes alone."""
    methods = {method for method in known_to_one.split(", ") if method}
    for path, operations in request.app.openapi()["paths"].items():
        if compile_path(path)[0].match(request.url.path):
            methods |= {method.upper() for method in operations}
    return ", ".join(sorted(methods))


def _problem(found: Mapping[str, Any], body: Any, *, openai: bool) -> Problem:
    """Return one finding of pydantic as a problem; the place is the path in the body as it was sent."""
    place = _place(found["loc"], body)
    if found["type"] in ("extra_forbidden", "unsupported_parameter"):
        return Problem("unsupported_parameter", f"{place} is not supported", place)
    if found["type"] == "json_invalid":
        return Problem("invalid_request_error", "the body is not JSON")
    message = f"{place}: {found['msg']}" if place else str(found["msg"])
    return Problem("invalid_value" if openai else "schema", printable(message), place)


def _innermost(problems: Sequence[Problem]) -> list[Problem]:
    """Leave out what is only said because something inside is wrong: of two forms the other one was meant."""
    places = [problem.place for problem in problems]

    def is_outer(place: str) -> bool:
        return any(other.startswith((f"{place}[", f"{place}.")) for other in places)

    return [problem for problem in problems if not problem.place or not is_outer(problem.place)]


def _place(location: Sequence[str | int], body: Any) -> str:
    """Return ``messages[3].role``; of a choice between forms pydantic names the form too, which nobody sent."""
    path, here = "", body
    if location[0] != "body":
        return ".".join(str(part) for part in location[1:])
    for number, part in enumerate(location[1:], start=2):
        if isinstance(here, dict) and (part in here or number == len(location)):
            path, here = step(path, str(part)), here.get(part)
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            path, here = f"{path}[{part}]", here[part]
    return path


def _words(error: MenuraError, problem: Problem) -> str:
    # A request's own words name the field where that helps; a file and its line are told with what was found there.
    shown_place = "" if isinstance(error, RequestError) else _public_place(problem.place)
    place = f"{printable(shown_place)}: " if shown_place else ""
    return f"{place}{printable(problem.message)}" + (f" ({printable(problem.hint)})" if problem.hint else "")


def _public_place(place: str) -> str:
    """Return a place without the folders that lead to it, which are nobody's business who asks over HTTP."""
    return PurePath(place).name if place.startswith(str(home())) else place


def _detail(problem: Problem) -> dict[str, Any]:
    return {
        "pointer": _public_place(problem.place),
        "code": problem.code,
        "detail": printable(problem.message),
        "hint": problem.hint,
    }


def _more(error: MenuraError) -> str:
    more = len(error.problems) - LISTED_AT_MOST
    return f"; and {more} more" if more > 0 else ""
