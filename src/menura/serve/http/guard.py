"""Every request passes here first: who asks, from where, how much; and every reply leaves here, named and counted."""

import logging
import time
from http import HTTPStatus
from uuid import uuid4

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from menura.errors import MenuraError, RequestError, UnavailableError
from menura.serve.http import request_checks as checks
from menura.serve.http.body import LimitedBody
from menura.serve.http.caller import Caller
from menura.serve.http.errors import error_response, internal_error
from menura.serve.http.json_body import check_json
from menura.serve.http.request_checks import RequestHead
from menura.serve.http.sessions import COOKIE, SessionStore
from menura.serve.http.traffic import Traffic
from menura.serve.http.wrong_keys import WrongKeys
from menura.serve.services import Services

LOG = logging.getLogger("menura.serve")
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
# A reply that a browser shows when somebody opens the page without a session.
TO_SIGN_IN = (
    '<!doctype html><title>Menura</title><meta http-equiv="refresh" content="0; url=/sign-in">'
    '<p><a href="/sign-in">Sign in</a>'
)


class Guard:
    """ASGI middleware around the whole app. A request that it lets through has ``scope["state"]["caller"]``."""

    def __init__(self, app: ASGIApp, owner: FastAPI) -> None:
        self._app = app
        services: Services = owner.state.services
        self._settings, self._keys = services.settings, services.keys
        self._sessions: SessionStore = owner.state.sessions
        self._wrong_keys: WrongKeys = owner.state.wrong_keys
        self._traffic: Traffic = owner.state.traffic

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; there are no web sockets."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        head = RequestHead.of(scope)
        body = LimitedBody(receive, head, self._settings)
        reply = _Reply(send, request_id, body)
        began = time.monotonic()
        with self._traffic.counting(head.path):
            await self._answer(scope, head, body, reply)
        self._traffic.done(scope, reply.status)
        self._log(scope, reply, time.monotonic() - began)

    async def _answer(self, scope: Scope, head: RequestHead, body: LimitedBody, reply: "_Reply") -> None:
        try:
            scope["state"]["caller"] = self._check(scope, head)
            body.check_length()
            if head.has_body and not head.is_raw:
                whole = await body.whole()
                if whole is None:
                    return
                if whole:
                    check_json(whole, self._settings.http)
            await self._app(scope, body.receive, reply.send)
        except MenuraError as error:
            await self._refuse(scope, body, reply, error)
        except Exception as error:  # whatever it is, the client is told no more than that it was
            LOG.error("error", exc_info=error, extra={"request_id": reply.request_id})
            await self._refuse(scope, body, reply, internal_error())

    def _check(self, scope: Scope, head: RequestHead) -> Caller:
        """Return who asks, if all that the head says is as it must be."""
        checks.check_line_and_size(scope, self._settings.http)
        checks.check_target(head)
        server = scope.get("server") or ("", None)
        hosts = checks.allowed_hosts(self._settings, server[1] or self._settings.port, server[0])
        checks.check_host(head, hosts)
        caller = self._caller(head)
        checks.check_site(head, hosts, self._settings)
        if self._traffic.draining and not head.is_public:
            raise UnavailableError("the server is stopping")
        checks.check_content(head)
        return caller

    def _caller(self, head: RequestHead) -> Caller:
        """Return who asks; RequestError where a key is needed and this is none."""
        keys = self._keys.list()
        if not keys and checks.is_loopback(self._settings.host):
            return Caller()
        if head.is_public:
            return Caller(personas=())
        secret = checks.bearer_of(head)
        if secret is None:
            session = checks.cookie_of(head.headers.get("cookie", ""), COOKIE)
            key = self._keys.find(self._sessions.key_id_of(session)) if session else None
            if key is None:
                hint = "send the header Authorization: Bearer KEY"
                raise RequestError("a key is needed", code="invalid_api_key", hint=hint)
        else:
            key = self._keys.check(secret)
            if key is None:
                raise self._wrong_keys.refusal(head.address)
        return Caller(key.key_id, key.personas)

    async def _refuse(self, scope: Scope, body: LimitedBody, reply: "_Reply", error: MenuraError) -> None:
        if not reply.status:  # else begun already: the server closes the connection, so that nobody takes it for whole
            await _refusal(scope, error)(scope, body.receive, reply.send)

    def _log(self, scope: Scope, reply: "_Reply", seconds: float) -> None:
        facts = {"method": scope["method"][:16], "path": self._traffic.path_of(scope), "status": reply.status}
        LOG.info("request", extra={"request_id": reply.request_id, **facts, "seconds": round(seconds, 4)})


class _Reply:
    """``send`` of a request: adds the headers that every reply has, remembers the status."""

    def __init__(self, send: Send, request_id: str, body: LimitedBody) -> None:
        self._send, self.request_id, self._body = send, request_id, body
        self.status = 0  # until the reply begins

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add_headers(MutableHeaders(scope=message))
        elif not message.get("more_body") and not self._body.complete:
            await self._send({**message, "more_body": True})
            await self._body.discard()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    def _add_headers(self, headers: MutableHeaders) -> None:
        headers["X-Request-Id"] = self.request_id
        for name, value in SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
        if not self._body.complete:
            headers["Connection"] = "close"  # what is left of the body is not the next request


def _refusal(scope: Scope, error: MenuraError) -> Response:
    headers = dict(scope["headers"])
    opens_page = scope["method"] == "GET" and b"text/html" in headers.get(b"accept", b"")
    response = error_response(error, scope["path"])
    if opens_page and response.status_code == HTTPStatus.UNAUTHORIZED:
        return HTMLResponse(TO_SIGN_IN, response.status_code, {"WWW-Authenticate": "Bearer"})
    return response
