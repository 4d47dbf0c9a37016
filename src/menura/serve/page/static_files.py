"""The page's own files, read once: a path that is none of them is not there, whatever it names."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "static"
MEDIA = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class StaticFile:
    """A file with its media type, and the tag by which a browser asks whether it has changed."""

    content: bytes
    media: str
    tag: str


@cache
def static_files() -> dict[str, StaticFile]:
    """Return all files by name."""
    return {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA}


def _read(path: Path) -> StaticFile:
    content = path.read_bytes()
    return StaticFile(content, MEDIA[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')
