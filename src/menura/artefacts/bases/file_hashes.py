"""SHA-256 of weights, so that a base of gigabytes is not read whole at every start."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

from menura.artefacts.files import home, sha256_of, write_json
from menura.corpus.atomic_files import reporting

LARGE = 64 << 20  # bytes: below, hashing takes no time
SETTLED = 2.0  # seconds: a file changed since may change again without a new time of change


def large_sha256_of(path: Path) -> str:
    """Return a file's SHA-256; that of a large file is kept in the workspace while size and time of change stay."""
    with reporting(path):
        path = path.resolve()
        status = path.stat()
    if status.st_size < LARGE:
        return sha256_of(path)
    kept, key = _kept(), str(path)
    stamp = [status.st_size, status.st_mtime_ns]
    known = kept.get(key)
    if isinstance(known, list) and known[:2] == stamp and len(known) == 3 and isinstance(known[2], str):
        return known[2]
    sha256 = sha256_of(path)
    if time.time() - status.st_mtime > SETTLED:
        write_json(_file(), {**kept, key: [*stamp, sha256]})
    return sha256


def joint_sha256_of(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of a file, or of the hashes of several in their order."""
    sums = [large_sha256_of(path) for path in paths]
    return sums[0] if len(sums) == 1 else hashlib.sha256(" ".join(sums).encode()).hexdigest()


def _file() -> Path:
    return home() / "bases" / "hashes.json"


def _kept() -> dict[str, object]:
    """Return the hashes kept; none where the file is missing or damaged, as each can be found again."""
    try:
        hashes = json.loads(_file().read_bytes())
    except (OSError, ValueError):
        return {}
    return hashes if isinstance(hashes, dict) else {}
