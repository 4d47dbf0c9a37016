"""Wrong keys are counted by address, so that guessing slows down while right keys go on being right."""

import time
from collections import OrderedDict, deque

from menura.errors import RequestError

WINDOW = 60.0  # seconds
MOST = 10_000  # addresses remembered; the oldest are forgotten


class WrongKeys:
    """How many wrong keys came from each address in the last minute. A right key is never asked about here."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def refusal(self, address: str) -> RequestError:
        """Count a wrong key; return ``invalid_api_key``, or ``rate_limit_exceeded`` where there were too many."""
        now = time.monotonic()
        times = self._times.setdefault(address, deque(maxlen=self._per_minute + 1))
        self._times.move_to_end(address)
        while len(self._times) > MOST:
            self._times.popitem(last=False)
        times.append(now)
        while now - times[0] > WINDOW:
            times.popleft()
        if len(times) <= self._per_minute:
            return RequestError("the key is not right", code="invalid_api_key", hint="menura key list")
        wait = int(WINDOW - (now - times[0])) + 1
        return RequestError("too many wrong keys from here", code="rate_limit_exceeded", retry_after=wait)
