"""Requests are counted: how many run, and how many ended how."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from starlette.types import Scope

from menura.serve.http.request_checks import PUBLIC

METHODS = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])


class Traffic:
    """Counts of the requests to one server; ``draining`` is whether it takes no more of them."""

    def __init__(self) -> None:
        self.draining = False
        self.running = 0  # without those that ask for health
        self._counts: Counter[tuple[str, str, int]] = Counter()

    @contextmanager
    def counting(self, path: str) -> Iterator[None]:
        """Count a request as running as long as the block runs."""
        weight = int(path not in PUBLIC)
        self.running += weight
        try:
            yield
        finally:
            self.running -= weight

    def done(self, scope: Scope, status: int) -> None:
        """Count a request that ended; status 0: the client left before the reply."""
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._counts[(method, self.path_of(scope), status)] += 1

    def path_of(self, scope: Scope) -> str:
        """Return the path of the route, with names in place of what a client wrote there."""
        route = scope.get("route")
        return str(getattr(route, "path", "")) or "other"

    @property
    def counts(self) -> Mapping[tuple[str, str, int], int]:
        """How many requests ended, by method, route and status."""
        return self._counts
