"""What a person sees: lines, tables and bars on a terminal, plain lines elsewhere, JSON objects where asked."""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from menura.errors import printable

BAR_WIDTH = 24
LINE_EVERY = 5.0  # seconds between progress lines where there is no terminal


class Screen:
    """One verb's output. With ``as_json`` every call is one object on a line; otherwise text."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.live = sys.stdout.isatty() and not as_json
        self.asks = sys.stdin is not None and sys.stdin.isatty()
        self._drawn = False
        self._last = 0.0
        self._label = ""

    def say(self, line: str, **facts: Any) -> None:
        """Print a line; as JSON, its facts."""
        self._leave_bar()
        if self.as_json:
            print(json.dumps({"event": "say", "message": line, **facts}, ensure_ascii=False), flush=True)
        else:
            print(printable(line), flush=True)

    def give(self, event: str, facts: Mapping[str, Any], text: str) -> None:
        """Print a result: ``text`` for people, ``facts`` as JSON."""
        self._leave_bar()
        if self.as_json:
            print(json.dumps({"event": event, **facts}, ensure_ascii=False, default=str), flush=True)
        else:
            print(printable(text), flush=True)

    def bar(self, label: str, done: int, total: int, detail: str) -> None:
        """Show how far something is: a bar that moves on a terminal, a line now and then elsewhere."""
        if self.as_json:
            print(
                json.dumps({"event": "step", "label": label, "step": done, "steps": total, "detail": detail}),
                flush=True,
            )
            return
        if self.live:
            filled = round(BAR_WIDTH * done / max(total, 1))
            print(
                f"\r\x1b[K{label}  {'━' * filled}{'─' * (BAR_WIDTH - filled)}  {done}/{total}  {detail}",
                end="",
                flush=True,
            )
            self._drawn = True
            if done >= total:
                self._leave_bar()
            return
        now = time.monotonic()
        if done >= total or label != self._label or now - self._last > LINE_EVERY:
            self._last, self._label = now, label
            print(f"{label}  {done}/{total}  {detail}", flush=True)

    def _leave_bar(self) -> None:
        if self._drawn:
            print(flush=True)
            self._drawn = False


class StepProgress:
    """Steps of a training as a bar, lines as they come."""

    def __init__(self, screen: Screen, label: str) -> None:
        self._screen, self._label = screen, label

    def step(self, step: int, steps: int, loss: float) -> None:
        """Move the bar."""
        self._screen.bar(self._label, step, steps, f"loss {loss:.3f}")

    def say(self, line: str) -> None:
        """Print a line."""
        self._screen.say(line)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Line up rows of cells, two spaces apart."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(padded)
