"""What the OpenAPI file says is what the server does, whatever it is sent."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import schemathesis
from counts import count
from fake_engine import FakeEngine
from fastapi import FastAPI
from hypothesis import HealthCheck, settings
from local_server import ask, services_for
from schemathesis.openapi.loaders import from_asgi
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    negative_data_rejection,
    positive_data_acceptance,
)

from menura.serve.app import API_ROUTERS, create_app
from menura.serve.http.keys import ApiKey, KeyStore
from menura.serve.http.request_checks import PUBLIC
from menura.serve.settings import HttpLimits, ServerSettings

EXAMPLES = count(full_count=500, quick_count=12)


SECRET = "menura-secret"
KEY = ApiKey("0", "a test", sha256(SECRET.encode()).hexdigest(), ("*",), 0)
SENT = {"Authorization": f"Bearer {SECRET}"}


class OneKey(KeyStore):
    """A store that needs no file."""

    def list(self) -> tuple[ApiKey, ...]:
        return (KEY,)


# Wrong keys are meant to be slowed down; here each must be told that it is wrong.
LIMITS = replace(HttpLimits(), wrong_keys_per_minute=100_000)
SETTINGS = ServerSettings(hosts=("testserver",), http=LIMITS)
# The pages are in no API file, and stand at one path that is in it.
APP = create_app(services_for(FakeEngine(), OneKey(), SETTINGS), API_ROUTERS)
schema = from_asgi("/openapi.json", APP, headers=SENT)
schema.config.checks.negative_data_rejection.expected_statuses = ["4xx"]  # also 413


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much, HealthCheck.too_slow],
)
def test_whatever_is_sent_the_reply_is_one_that_the_file_has(case: schemathesis.Case) -> None:
    # A body's schema cannot say that one field needs another, queries may have more than is known, and where two paths
    # of the file fit a URL, more methods are allowed than either of them has.
    queries = [negative_data_rejection] if case.method in ("GET", "DELETE") else []
    excluded = [positive_data_acceptance, allow_header_conformance, *queries]
    reply = case.call(headers=SENT)
    if reply.status_code == 413:  # what is wrong with a body that is too large is never looked at
        excluded.append(negative_data_rejection)
    case.validate_response(reply, headers=SENT, excluded_checks=excluded)


def test_the_file_says_which_routes_need_a_key(app: FastAPI) -> None:
    paths: dict[str, dict[str, Any]] = ask(app, "GET", "/openapi.json").json()["paths"]
    open_paths = {path for path, methods in paths.items() if not all(one["security"] for one in methods.values())}
    assert open_paths == PUBLIC & set(paths)
    assert "/v1/chat/completions" in paths


def test_no_page_is_served_that_fetches_scripts_from_elsewhere(app: FastAPI) -> None:
    for path in ("/docs", "/redoc"):
        assert ask(app, "GET", path).status_code == 404
