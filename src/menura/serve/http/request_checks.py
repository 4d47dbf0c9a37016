"""What a request's head must be before anything else of it is read: pure functions, each with its own refusal."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from starlette.types import Scope

from menura.errors import RequestError, shown
from menura.serve.settings import HttpLimits, ServerSettings

SIGN_IN = "/sign-in"
# The only paths that answer without a key where keys are needed; every other route, also a new one, needs one.
PUBLIC = frozenset(["/healthz", "/readyz", "/health", "/v1/health", SIGN_IN])
PUBLIC_FOLDER = "/static/"
# Files and pasted text come as they are; every other body is JSON.
RAW_BODIES = frozenset(["/api/uploads", "/api/personas/import"])
SAFE_METHODS = frozenset(["GET", "HEAD", "OPTIONS"])
SECRET_PARAMETERS = frozenset(["key", "api_key", "apikey", "api-key", "access_token", "token", "authorization"])
UNSAFE_PATH = re.compile("[\x00-\x1f\x7f\ufffd\\\\]")
JSON_TYPE = re.compile(r"application/([\w.-]+\+)?json")
FORMS = frozenset(["multipart/form-data", "application/x-www-form-urlencoded"])
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Head:
    """A request without its body: ``headers`` are in lower case, values of a name that stands twice are joined."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    address: str  # of the client

    @classmethod
    def of(cls, scope: Scope) -> "Head":
        """Return the head of an ASGI request."""
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        client = scope.get("client")
        address = client[0] if client else ""
        return cls(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers, address)

    @property
    def content_type(self) -> str:
        """The media type of the body, without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def has_body(self) -> bool:
        """Whether the head announces a body."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"

    @property
    def is_raw(self) -> bool:
        """Whether the body is taken as it is."""
        return self.path in RAW_BODIES

    @property
    def is_public(self) -> bool:
        """Whether the path answers without a key."""
        return self.path in PUBLIC or (self.path.startswith(PUBLIC_FOLDER) and ".." not in self.path)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address; a name other than ``localhost`` may be anywhere."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_line_and_size(scope: Scope, limits: HttpLimits) -> None:
    """Refuse a version of HTTP that nobody speaks here, and a URL or headers beyond the limits."""
    if scope.get("http_version", "1.1") not in ("1.0", "1.1"):
        raise RequestError("HTTP/1.1 wanted", code="invalid_request_error")
    url = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    if url > limits.url_bytes:
        raise RequestError(f"URL of {url:,} bytes, limit {limits.url_bytes:,}", code="url_too_long")
    fields = scope["headers"]
    size = sum(len(name) + len(value) + 4 for name, value in fields)  # with ": " and the line's end
    if size > limits.header_bytes or len(fields) > limits.header_fields:
        found = f"{len(fields)} headers of {size:,} bytes"
        limit = f"{limits.header_fields} of {limits.header_bytes:,}"
        raise RequestError(f"{found}, limit {limit}", code="headers_too_large")


def check_target(head: Head) -> None:
    """Refuse a path that is none of ours whatever it names, and a key in the query, where logs would keep it."""
    if not head.path.startswith("/") or UNSAFE_PATH.search(head.path):
        raise RequestError("the path must begin with / and hold no control characters", code="invalid_request_error")
    named = {name.lower() for name, _ in parse_qsl(head.query, keep_blank_values=True, max_num_fields=None)}
    if named & SECRET_PARAMETERS:
        hint = "send it as the header Authorization: Bearer KEY"
        raise RequestError("a key does not belong into the URL", code="invalid_api_key", hint=hint)


def allowed_hosts(settings: ServerSettings, port: int, local_address: str = "") -> frozenset[str]:
    """Return all values that a Host header may have, in lower case.

    ``local_address`` is the one that the connection came in by: where the server listens on every address it is
    allowed too, as no name that somebody points here is an address.
    """
    names = {"127.0.0.1", "localhost", "::1"}
    everywhere = settings.host in ("0.0.0.0", "::", "")  # compared, not listened on
    names.add(local_address if everywhere else settings.host)
    ours = {_bracketed(name.lower()) for name in names if name}
    hosts = {f"{name}:{port}" for name in ours} | (ours if port == DEFAULT_PORTS["http"] else set())
    for entry in settings.hosts:
        name = _bracketed(entry.lower())
        hosts |= {name} if _has_port(name) else {name, f"{name}:{port}"}
    return frozenset(hosts)


def check_host(head: Head, hosts: frozenset[str]) -> None:
    """Refuse a Host that is not exactly one of ``hosts``: a page's own name, pointed here, is none of them."""
    host = head.headers.get("host", "")
    if host.lower() not in hosts:
        message = f"host {shown(host)} is not one of this server's"
        raise RequestError(message, code="bad_host", hint="menura serve --allow-host NAME")


def check_site(head: Head, hosts: frozenset[str], settings: ServerSettings) -> None:
    """Refuse what another site's page could have sent.

    What changes something needs an Origin of ours, or an ``Authorization`` header, which no page sends to another site
    without being allowed to. Without either, ``Sec-Fetch-Site: same-origin`` does, which no page can set.
    """
    origin, site = head.headers.get("origin"), head.headers.get("sec-fetch-site", "")
    ours = origin is not None and _is_ours(origin, hosts, settings)
    if origin is not None and not ours:
        raise RequestError(f"origin {shown(origin)} is another site", code="cross_site", hint=_allow(origin))
    if site in ("cross-site", "same-site") and not ours:
        follows_link = head.method in SAFE_METHODS and head.headers.get("sec-fetch-mode") == "navigate"
        if not follows_link:
            raise RequestError("the request comes from another site's page", code="cross_site")
    if head.method in SAFE_METHODS or ours or site == "same-origin" or "authorization" in head.headers:
        return
    hint = "send Authorization: Bearer KEY; any KEY will do where none is needed"
    raise RequestError("what changes something needs an Origin of ours or a key", code="cross_site", hint=hint)


def check_content(head: Head) -> None:
    """Refuse a body that is neither JSON nor, where files are taken, raw bytes."""
    if head.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError("compressed bodies are not read", code="unsupported_media_type")
    kind = head.content_type
    if kind in FORMS or kind.startswith("multipart/"):
        raise RequestError(f"{kind} is not read", code="unsupported_media_type", hint=_wanted(head))
    if head.is_raw or not head.has_body or JSON_TYPE.fullmatch(kind):
        return
    raise RequestError(f"content type {shown(kind)}", code="unsupported_media_type", hint=_wanted(head))


def bearer_of(head: Head) -> str | None:
    """Return the secret of an ``Authorization: Bearer`` header, None where there is no such header."""
    given = head.headers.get("authorization")
    if given is None:
        return None
    scheme, _, secret = given.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else ""


def cookie_of(header: str, name: str) -> str:
    """Return a cookie's value, empty where there is none."""
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def _is_ours(origin: str, hosts: frozenset[str], settings: ServerSettings) -> bool:
    if origin in settings.origins:
        return True
    scheme, _, host = origin.lower().partition("://")
    with_port = host if _has_port(host) else f"{host}:{DEFAULT_PORTS.get(scheme, 0)}"
    return scheme in DEFAULT_PORTS and (host in hosts or with_port in hosts)


def _allow(origin: str) -> str:
    return "menura serve --allow-origin ORIGIN" if origin != "null" else ""


def _wanted(head: Head) -> str:
    return "application/octet-stream, with the file as it is" if head.is_raw else "Content-Type: application/json"


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit() and (host.startswith("[") or host.count(":") == 1)


def _bracketed(host: str) -> str:
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
