"""Units become runs and scores, one process after another; what is done is left alone."""

import runpy
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from multiprocessing.process import BaseProcess
from shlex import join

from menura.errors import MenuraError, NumericalError
from menura.experiments.commands import TINY, Unit

HOUR = 3600.0
LIBRARIES = ("torch._dynamo", "transformers.modeling_utils", "typer")  # what takes seconds to import
OURS = ("menura.cli.main", "menura.api", "menura.evaluation.run", "menura.training.trainer", "menura.report.results")


class CommandFailedError(MenuraError):
    """A command of an experiment ended with an error, which it has printed itself."""

    code = "failed_command"
    exit_code = 1


def reproduce(
    units: Sequence[Unit],
    *,
    hours: float | None = None,
    run: Callable[[Sequence[str]], int] | None = None,
    say: Callable[[str], None] = print,
) -> list[Unit]:
    """Train and score units in order, and return those that are left out because the hours are over.

    Each command is a process of its own, as typed by hand. A unit that is scored is not done again, and an interrupted
    one goes on: the same call resumes. No unit begins after ``hours``. Of several learning rates one may diverge: it
    has not been the best. Raises CommandFailedError, naming the unit and the command, for one that fails.
    """
    run = run or _runner(units)
    began = time.monotonic()
    for number, unit in enumerate(units):
        if hours is not None and time.monotonic() - began > hours * HOUR:
            return list(units[number:])
        if unit.is_scored:
            say(f"{unit.title}: scored already")
            continue
        for row in (*unit.needs, unit.row):
            for training in unit.of(row).trainings:
                if not training.is_done:
                    accepted = (NumericalError.exit_code,) if training.may_diverge else ()
                    _typed(unit.of(row), training.words, run, say, accepted)
        _typed(unit, unit.evaluate, run, say)
    return []


def typed(words: Sequence[str]) -> str:
    """Return a command as one types it."""
    return join(["menura", *words])


def _typed(
    unit: Unit,
    words: Sequence[str],
    run: Callable[[Sequence[str]], int],
    say: Callable[[str], None],
    accepted: Sequence[int] = (),
) -> None:
    command = typed(words)
    say(f"{unit.title}: {command}")
    if (code := run(words)) and code not in accepted:
        message = f"{unit.title}: exit code {code} of: {command}"
        raise CommandFailedError(message, hint="its error is above; the same command goes on from there")


def _runner(units: Sequence[Unit]) -> Callable[[Sequence[str]], int]:
    """Return what runs a command in a process of its own, forked where a system can from one that has imported much.

    Modules of Menura are imported before at size tiny only: each process notes those that it computes with.
    """
    if "forkserver" not in get_all_start_methods():
        return partial(_run, get_context("spawn").Process)
    context = get_context("forkserver")
    context.set_forkserver_preload([*LIBRARIES, *(OURS if any(unit.size == TINY for unit in units) else ())])
    return partial(_run, context.Process)


def _run(started: Callable[..., BaseProcess], words: Sequence[str]) -> int:
    process = started(target=_command, args=(words,))
    process.start()
    process.join()
    return process.exitcode or 0


def _command(words: Sequence[str]) -> None:
    sys.argv = ["menura", *words]
    runpy.run_module("menura", run_name="__main__", alter_sys=True)
