"""A function is called in a process of its own, within limits of time and memory.

Code that nobody vouches for can run for ever or fill the memory in one call of C, which nothing within a process stops.
"""

import json
import os
import selectors
import signal
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from menura.batches.process_resources import limit_address_space, page_size

SIZES = Path("/proc/self/statm")  # of this process in pages, on Linux: all that is mapped comes first
AT_ONCE = 1 << 16  # bytes read


def call_limited(work: Callable[[], Any], *, seconds: float, memory: int) -> Any:
    """Return what ``work`` returns, any JSON; it runs in a fork of this process, which it cannot change.

    Raises TimeoutError after ``seconds``, MemoryError if it takes ``memory`` bytes more than are taken now, and
    ChildProcessError if it raises or its process dies. Systems without ``/proc`` have no limit of memory. On Windows,
    which has no fork, it runs in a thread that is left behind after ``seconds``.
    """
    if not hasattr(os, "fork"):
        return _called_in_thread(work, seconds)
    reader, writer = os.pipe()
    process = _forked()
    if not process:
        _answer(work, writer, memory)
    os.close(writer)
    try:
        answer = json.loads(_line(reader, time.monotonic() + seconds))
    finally:
        os.close(reader)
        with suppress(ProcessLookupError, ChildProcessError):  # reaped by a handler of the program we are part of
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    if "result" not in answer:
        raise MemoryError
    return answer["result"]


def _called_in_thread(work: Callable[[], Any], seconds: float) -> Any:
    results: list[str] = []

    def call() -> None:
        with suppress(Exception):  # whatever it is, there is no result
            results.append(json.dumps(work()))

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError
    if not results:
        raise ChildProcessError("it ended without an answer")
    return json.loads(results[0])


def _forked() -> int:
    with warnings.catch_warnings():
        # Python warns of threads, whose locks a fork may find taken; what is called here takes none of torch's.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _answer(work: Callable[[], Any], writer: int, memory: int) -> NoReturn:
    """Write what ``work`` returns as one line, or that it took too much memory, and end the process."""
    try:
        _limit(memory)
        try:
            answer = {"result": work()}
        except MemoryError:
            answer = {}
        with os.fdopen(writer, "wb") as file:
            file.write(json.dumps(answer).encode() + b"\n")
    finally:
        os._exit(0)  # nothing that the parent would do at its end, such as writing its buffers


def _limit(memory: int) -> None:
    """Let this process map so many bytes more than it does."""
    try:
        mapped = int(SIZES.read_text(encoding="utf-8").split()[0]) * page_size()
    except OSError:
        return
    limit_address_space(mapped + memory)


def _line(reader: int, deadline: float) -> bytes:
    """Return the line that the other process writes; TimeoutError at the deadline."""
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise TimeoutError
            piece = os.read(reader, AT_ONCE)
            if not piece:
                raise ChildProcessError("it ended without an answer")
            line += piece
    return line
