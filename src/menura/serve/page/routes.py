"""The pages: each is the same whoever asks, save for language and theme; what it shows comes from ``/api``."""

import hashlib
import json
import platform
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from menura import __version__
from menura.artefacts.loading import DEFAULT
from menura.artefacts.persona_store import BUILT_IN
from menura.errors import RequestError, printable
from menura.serve.page.labels import LANGUAGES, chosen_language, labels
from menura.serve.services import services_of

router = APIRouter(include_in_schema=False)
LANGUAGE_COOKIE, THEME_COOKIE = "menura_language", "menura_theme"
THEMES = ("auto", "light", "dark")
FOLDER = Path(__file__).parent / "static"
MEDIA = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "fastapi", "uvicorn")


@dataclass(frozen=True)
class StaticFile:
    """A file of the page's own with its media type, and the tag by which a browser asks whether it has changed."""

    content: bytes
    media: str
    tag: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Return all of them by name, read once: a path that is none of these is not there, whatever it names."""
    return {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA}


@router.get("/")
def personas(request: Request) -> HTMLResponse:
    """All personas: search, chat, export, rename, delete."""
    return _page(request, "personas")


@router.get("/new")
def new_persona(request: Request) -> HTMLResponse:
    """A new persona, or with ``?more=NAME`` a further version of one, from a chat."""
    return _page(request, "new", bases=sorted(BUILT_IN), base=DEFAULT)


@router.get("/personas/{name}")
def persona(request: Request, name: str) -> HTMLResponse:
    """How one persona was made, its versions and its memory."""
    return _page(request, "persona", section="personas", name=name)


@router.get("/chats")
def chats(request: Request) -> HTMLResponse:
    """All chats that were held."""
    return _page(request, "chats")


@router.get("/chat/{name}")
def chat(request: Request, name: str) -> HTMLResponse:
    """A chat with one persona; ``?chat=ID`` goes on with one that was held."""
    return _page(request, "chat", section="personas", name=name)


@router.get("/compare")
def compare(request: Request) -> HTMLResponse:
    """One prompt to several models, and what the votes add up to."""
    return _page(request, "compare")


@router.get("/results")
def results(request: Request) -> HTMLResponse:
    """What adapting did to each persona's held-out replies."""
    return _page(request, "results")


@router.get("/settings")
def settings(request: Request) -> HTMLResponse:
    """How the server is, and how the page looks."""
    set_up = services_of(request).settings
    facts = {"device": set_up.device, "dtype": set_up.dtype, "slots": set_up.engine.slots}
    return _page(request, "settings", facts=facts, versions=_versions(), languages=LANGUAGES, themes=THEMES)


@router.get("/sign-in")
def sign_in(request: Request) -> HTMLResponse:
    """Where a key is typed in."""
    return _page(request, "sign-in")


@router.get("/static/{name}")
def static_file(request: Request, name: str) -> Response:
    """One of the page's own files, or nothing where the browser has it already."""
    found = static_files().get(name)
    if found is None:
        raise RequestError(f"nothing is at /static/{printable(name[:80])}", code="not_found")
    headers = {"ETag": found.tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=headers)
    return Response(found.content, media_type=found.media, headers=headers)


def _page(request: Request, template: str, section: str = "", **values: Any) -> HTMLResponse:
    """Return a page in the reader's language; nothing of it is code, so that the strictest policy lets it run."""
    accepted = request.headers.get("accept-language", "")
    language = chosen_language(request.cookies.get(LANGUAGE_COOKIE, ""), accepted)
    theme = request.cookies.get(THEME_COOKIE, "")
    words = labels(language)
    values |= {"language": language, "theme": theme if theme in THEMES else "auto", "t": words.__getitem__}
    values |= {"page": template, "section": section or template, "version": __version__}
    text = _templates().get_template(f"{template}.html").render(**values, labels=json.dumps(words, ensure_ascii=False))
    # Nothing of it is anybody's, but it is another one after a sign-out.
    return HTMLResponse(text, headers={"Cache-Control": "no-store", "Vary": "Accept-Language, Cookie"})


@cache
def _templates() -> Environment:
    loader = PackageLoader("menura.serve.page")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@cache
def _versions() -> dict[str, str]:
    """Return the versions of what the server stands on; of what is not here none."""
    found = {"menura": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    return StaticFile(content, MEDIA[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
