"""``menura``: the line that was typed becomes one call, errors become lines and exit codes."""

import io
import json
import sys
import traceback
import warnings
from typing import NoReturn, TextIO

import typer
from typer.exceptions import Abort, Exit, TyperException

from menura import __version__, api
from menura.cli import (
    adapt,
    annotate,
    base,
    chat,
    config,
    data,
    demo,
    evaluate,
    key,
    model,
    persona,
    reproduce,
    serve,
    train,
)
from menura.cli.globals import EPILOG, taken_from, warn
from menura.cli.hints import as_typed
from menura.errors import MenuraError, NumericalError, Problem, StorageError

app = typer.Typer(
    help="Few-shot, persona-aware dialogue: a small model adapts to a person from a handful of dialogues.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
VERBS = (
    *(demo.demo, demo.doctor, train.train, adapt.adapt, chat.chat, evaluate.evaluate, evaluate.report),
    *(reproduce.reproduce, reproduce.verify, serve.serve),
)
for verb in VERBS:
    app.command(name="eval" if verb is evaluate.evaluate else None, epilog=EPILOG)(verb)
for name, group in (
    ("base", base.app),
    ("model", model.app),
    ("config", config.app),
    ("data", data.app),
    ("persona", persona.app),
    ("annotate", annotate.app),
    ("key", key.app),
):
    app.add_typer(group, name=name)


def main() -> NoReturn:
    """Run one command and leave with its exit code."""
    warnings.showwarning = _noted
    # What the terminal cannot show, or typed in another encoding, is no reason to stop.
    for stream, errors in ((sys.stdin, "replace"), (sys.stdout, "backslashreplace"), (sys.stderr, "backslashreplace")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """Run one command line; return its exit code. Errors go to the error stream, a line a problem."""
    debug, as_json = "--debug" in words, "--json" in words
    if words == ["--version"]:
        print(f"menura {__version__}")
        return 0
    rest: list[str] = []
    try:
        given, rest = taken_from(words or ["--help"])
        result = app(rest, obj=given, standalone_mode=False, prog_name="menura")
    except MenuraError as error:
        error.problems = [as_typed(problem, rest) for problem in error.problems]
        return _told(error, as_json=as_json, debug=debug)
    except TyperException as error:
        problem = _renamed_flag(words) or Problem("usage", error.format_message(), hint="menura --help")
        return _lines([problem], 2, as_json=as_json)
    except Exit as error:
        return error.exit_code
    except (Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        return 0  # whoever read our output has seen enough
    except OSError as error:
        return _told(
            StorageError(error.strerror or str(error), place=str(error.filename or "")), as_json=as_json, debug=debug
        )
    except MemoryError:
        return _told(_too_little_memory(), as_json=as_json, debug=debug)
    except Exception as error:  # noqa: BLE001  # the one place where a bug becomes a line
        if _out_of_memory(error):
            return _told(_too_little_memory(), as_json=as_json, debug=debug)
        if debug:
            traceback.print_exc()
        where = f"{type(error).__name__}: {error}"
        return _lines(
            [Problem("internal", f"{where}. This is a bug", hint="the same line with --debug")], 1, as_json=as_json
        )
    return result if isinstance(result, int) else 0


def _renamed_flag(words: list[str]) -> Problem | None:
    """Return the problem of a line that has a flag of an earlier version, None where it has none."""
    for word in words:
        flag = word.partition("=")[0]
        if flag in api.FLAGS:
            now = api.FLAGS[flag]
            return Problem("renamed", f"{flag} is called {now} now", hint=f"type {now} instead")
    return None


def _noted(  # Python's own parameters
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning of ours as a line; of other packages, as Python does."""
    if category.__module__.startswith("menura."):
        warn(f"note: {message}")
    else:
        warn(warnings.formatwarning(message, category, filename, lineno, line).rstrip())


def _too_little_memory() -> NumericalError:
    hint = "fewer dialogues, smaller adapters, or a smaller base"
    return NumericalError("out of memory", hint=hint, code="out_of_memory")


def _out_of_memory(error: Exception) -> bool:
    """Tell whether torch could not get the memory it asked for; on the CPU it says so in words only."""
    said = str(error)
    on_cpu = isinstance(error, RuntimeError) and ("can't allocate memory" in said or "not enough memory" in said)
    return on_cpu or type(error).__name__ == "OutOfMemoryError"


def _told(error: MenuraError, *, as_json: bool, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    if as_json:
        return _lines(error.problems, error.exit_code, as_json=True)
    warn(str(error))
    return error.exit_code


def _lines(problems: list[Problem], exit_code: int, *, as_json: bool) -> int:
    for problem in problems:
        if as_json:
            print(json.dumps({"event": "error", "exit": exit_code, **vars(problem)}, ensure_ascii=False))
        else:
            warn(str(problem))
    return exit_code
