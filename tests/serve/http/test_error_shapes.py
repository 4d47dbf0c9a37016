"""Every error has a status, a code and a form, and says nothing that its reader must not know."""

import json
import logging

import pytest
from fake_engine import FakeEngine
from fastapi import APIRouter, FastAPI
from local_server import BEARER, HELLO, app_of, ask, post
from pydantic import BaseModel, ConfigDict

from menura import errors
from menura.errors import (
    BusyError,
    ConfigError,
    DataError,
    MenuraError,
    NumericalError,
    OverloadedError,
    PersonaChangedError,
    Problem,
    RequestError,
    StorageError,
    UnavailableError,
    UnsafeError,
)
from menura.serve.app import ROUTERS, create_app
from menura.serve.http.errors import STATUS, status_of
from menura.serve.http.keys import KeyStore
from menura.serve.logs import JsonLines
from menura.serve.services import Services
from menura.serve.settings import ServerSettings

CHAT = "/v1/chat/completions"
TYPES = {
    **dict.fromkeys((400, 405, 408, 409, 410, 413, 414, 415, 421, 422, 431), "invalid_request_error"),
    **{401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"},
    **dict.fromkeys((500, 503, 507), "server_error"),
}


@pytest.mark.parametrize("code", STATUS)
def test_every_code_has_its_status_in_both_forms(engine: FakeEngine, app: FastAPI, code: str) -> None:
    engine.fails_first = MenuraError("it went wrong", code=code)
    reply = post(app, CHAT, HELLO)
    assert reply.status_code == STATUS[code]
    assert reply.headers["Content-Type"] == "application/json"
    error = reply.json()["error"]
    assert error == {"message": "it went wrong", "type": TYPES[STATUS[code]], "param": None, "code": code}
    assert ("Retry-After" in reply.headers) == (STATUS[code] in (429, 503))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("x", code="model_not_found"), 404),
        (ConfigError("x"), 400),
        (DataError("x", code="context_length_exceeded"), 400),
        (DataError("x", code="persona_damaged"), 409),
        (DataError("x", code="nobody_knows"), 422),
        (OverloadedError("x"), 429),
        (UnavailableError("x"), 503),
        (PersonaChangedError("x"), 409),
        (BusyError("x"), 409),
        (UnsafeError("x"), 415),
        (StorageError("x"), 503),
        (StorageError("x", code="storage_full"), 507),
        (NumericalError("x", code="engine_error"), 500),
        (RequestError("x"), 400),
        (MenuraError("x"), 500),
    ],
    ids=lambda value: str(value),
)
def test_the_status_follows_from_the_code_and_else_from_the_class(error: MenuraError, status: int) -> None:
    assert status_of(error) == status


def test_every_class_of_errors_has_a_status() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MenuraError)]
    for kind in set(kinds) - {errors.Stopped}:
        assert 400 <= status_of(kind("x")) < 600


def test_how_long_to_wait_is_the_error_s_own_word(engine: FakeEngine, app: FastAPI) -> None:
    engine.fails_first = OverloadedError("full", retry_after=7)
    assert post(app, CHAT, HELLO).headers["Retry-After"] == "7"


def test_elsewhere_errors_are_problem_details_with_every_problem(engine: FakeEngine, keys: KeyStore) -> None:
    router = APIRouter()

    @router.get("/api/broken")
    async def broken() -> None:
        raise DataError.of([Problem("schema", f"field {n} is missing", f"talk.jsonl:{n}") for n in range(25)])

    app = create_app(Services(engine, ServerSettings(), keys), (*ROUTERS, router))
    reply = ask(app, "GET", "/api/broken")
    assert reply.status_code == 422
    assert reply.headers["Content-Type"] == "application/problem+json"
    said = reply.json()
    assert said["detail"] == "talk.jsonl:0: field 0 is missing; and 5 more"
    assert (said["title"], said["status"], said["code"]) == ("Unprocessable Entity", 422, "schema")
    assert said["errors"][3]["pointer"] == "talk.jsonl:3"
    assert len(said["errors"]) == 20


def test_a_body_that_does_not_fit_is_told_place_by_place(engine: FakeEngine, keys: KeyStore) -> None:
    router = APIRouter()

    class Item(BaseModel):
        model_config = ConfigDict(extra="forbid", strict=True)
        name: str
        counts: list[int]

    @router.post("/api/items")
    async def items(body: Item) -> None:
        assert body

    app = create_app(Services(engine, ServerSettings(), keys), (*ROUTERS, router))
    reply = post(app, "/api/items", {"counts": [1, "2"], "nmae": "x"})
    assert (reply.status_code, reply.json()["code"]) == (422, "schema")
    found = {one["pointer"]: one["code"] for one in reply.json()["errors"]}
    assert found == {"name": "schema", "counts[1]": "schema", "nmae": "unsupported_parameter"}


def test_an_unexpected_error_is_logged_and_not_told(
    engine: FakeEngine, app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    engine.fails_first = ZeroDivisionError("a secret of somebody's")
    with caplog.at_level(logging.ERROR, "menura.serve"):
        reply = post(app, CHAT, HELLO)
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal")
    assert "secret" not in reply.text and "Traceback" not in reply.text
    record = next(record for record in caplog.records if record.exc_info)
    line = JsonLines().format(record)
    assert "\n" not in line and "secret" not in line
    told = json.loads(line)
    assert told["error"] == "ZeroDivisionError"
    assert told["request_id"] == reply.headers["X-Request-Id"]
    assert any("fake_engine.py" in place for place in told["raised"])


def test_unknown_paths_and_methods_are_told_in_the_form_of_their_place(app: FastAPI) -> None:
    assert ask(app, "GET", "/nothing").json()["code"] == "not_found"
    assert ask(app, "GET", "/v1/nothing").json()["error"]["code"] == "not_found"
    wrong = ask(app, "DELETE", "/v1/models", headers=BEARER)
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["Allow"] == "GET"


def test_control_characters_are_escaped_and_long_input_is_cut(app: FastAPI) -> None:
    name = "\x1b[31m\u202e" + "x" * 200
    reply = post(app, CHAT, HELLO | {"model": name})
    message = reply.json()["error"]["message"]
    assert reply.status_code == 404
    assert message.isprintable()
    assert "x" * 81 not in message


def test_while_it_stops_the_server_says_so_and_probes_are_answered(app: FastAPI, engine: FakeEngine) -> None:
    assert ask(app, "GET", "/readyz").json() == {"status": "ready"}
    app.state.traffic.draining = True
    reply = post(app, CHAT, HELLO)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "unavailable")
    assert int(reply.headers["Retry-After"]) > 0
    assert ask(app, "GET", "/healthz").status_code == ask(app, "GET", "/health").status_code == 200
    assert ask(app, "GET", "/readyz").status_code == 503
    assert not engine.asked


def test_a_server_without_its_engine_is_not_ready(app: FastAPI, engine: FakeEngine) -> None:
    engine.close()
    assert ask(app, "GET", "/readyz").status_code == 503


def test_metrics_count_requests_by_route_and_not_by_what_was_typed(app: FastAPI) -> None:
    for name in ("anna", "bob", "nobody", "canary"):
        ask(app, "GET", f"/v1/models/{name}")
    ask(app, "GET", "/canary/path")
    post(app, CHAT, HELLO)
    text = ask(app, "GET", "/metrics").text
    assert 'menura_http_requests_total{method="GET",path="/v1/models/{name:path}",status="200"} 2\n' in text
    assert 'menura_http_requests_total{method="GET",path="other",status="404"} 1\n' in text
    assert 'menura_engine_requests_total{outcome="finished"} 1\n' in text
    assert "menura_tokens_total 7\n" in text
    assert "canary" not in text
    for line in text.splitlines():
        assert line.startswith("# ") or len(line.rsplit(" ", 1)) == 2


def test_the_metrics_need_a_key_where_keys_are_needed(app: FastAPI, keys: KeyStore) -> None:
    keys.new("laptop")
    assert ask(app, "GET", "/metrics").status_code == 401


def test_the_settings_of_a_test_reach_the_app(engine: FakeEngine, keys: KeyStore) -> None:
    assert app_of(engine, keys, ServerSettings(port=1)).state.services.settings.port == 1
