"""A key that was typed into the page becomes a session: a cookie that no script can read."""

import hashlib
import secrets
import time
from collections import OrderedDict
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from menura.serve.http.request_checks import SIGN_IN, cookie_of
from menura.serve.http.wrong_keys import WrongKeys
from menura.serve.services import services_of

COOKIE = "menura_session"
SECONDS = 12 * 3600
MOST = 1_000  # sessions; the oldest are forgotten

router = APIRouter(tags=["access"])


class SessionStore:
    """Sessions of a running server, in memory; ``clock`` is in seconds."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def start(self, key_id: str) -> str:
        """Begin a session of a key's holder; return the cookie's value."""
        token = secrets.token_urlsafe(32)
        self._sessions[_hashed(token)] = (key_id, time.monotonic() + SECONDS)
        while len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return token

    def key_id_of(self, token: str) -> str:
        """Return whose session it is; empty if there is none, or it has expired."""
        key_id, ends = self._sessions.get(_hashed(token), ("", 0.0))
        if time.monotonic() >= ends:
            self.end(token)
            return ""
        return key_id

    def end(self, token: str) -> None:
        """End a session; one that is not there is no error."""
        self._sessions.pop(_hashed(token), None)


class SignIn(BaseModel):
    """What the page sends to sign in."""

    model_config = ConfigDict(extra="forbid", strict=True)
    key: Annotated[str, Field(min_length=1, max_length=256)]


@router.post(SIGN_IN, status_code=204, responses={"4XX": {"description": "problem details"}})
async def sign_in(request: Request, body: SignIn) -> Response:
    """Exchange a key for a session cookie; 401 for a wrong key, 429 after too many of them."""
    key = services_of(request).keys.check(body.key)
    if key is None:
        wrong: WrongKeys = request.app.state.wrong_keys
        raise wrong.refusal(request.client.host if request.client else "")
    sessions: SessionStore = request.app.state.sessions
    response = Response(status_code=204)
    response.set_cookie(COOKIE, sessions.start(key.key_id), max_age=SECONDS, httponly=True, samesite="strict")
    return response


@router.post("/sign-out", status_code=204, responses={"4XX": {"description": "problem details"}})
async def sign_out(request: Request) -> Response:
    """End the session of the cookie that comes with the request."""
    sessions: SessionStore = request.app.state.sessions
    sessions.end(cookie_of(request.headers.get("cookie", ""), COOKIE))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()
