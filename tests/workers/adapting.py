"""What workers import to adapt to made-up people, one of whom kills a worker once."""

import os
import signal
from pathlib import Path

from menura.api.make_persona import AdaptRequest
from menura.api.many_personas import PersonRecord, adapt_one


def killed_once(request: AdaptRequest) -> PersonRecord:
    """Adapt to a person; the worker of the third one is killed the first time."""
    if request.name == "person-02" and not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return adapt_one(request)
