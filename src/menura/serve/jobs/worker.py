"""The process that reads what somebody uploaded: a request comes in as one line of JSON, events leave as lines.

It ends by itself when its standard input does, so that none outlives the server.
"""

import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from menura.batches.process_resources import limit_address_space, limit_processor
from menura.errors import ConfigError, MenuraError, Problem
from menura.serve.previews import plain_problem

Emit = Callable[..., None]
NICENESS = "MENURA_JOB_NICE"  # in the environment: how much a job gives way, 0 to 19
USUAL_NICENESS = "10"  # so that chat goes on
BETWEEN_STEPS = 0.05  # seconds between two events of steps
READING_BYTES, READING_SECONDS = 4 << 30, 300  # of address space and of processor that reading a file may take


def main() -> None:
    """Do what the first line of the standard input asks, and report it on the standard output."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no event
    if hasattr(os, "nice"):  # Windows has none
        os.nice(int(os.environ.get(NICENESS, USUAL_NICENESS)))
    asked = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with, args=(sys.stdin,), daemon=True).start()
    emit = _emitting(events)
    try:
        emit("done", **WORK[asked["kind"]](emit, **asked["arguments"]))
    except MenuraError as error:
        problems = [plain_problem(problem) for problem in error.problems]
        emit("failed", error=type(error).__name__, problems=problems)
    except MemoryError:
        problem = Problem("out_of_memory", "the memory did not suffice", hint="a smaller base or fewer dialogues")
        emit("failed", error="NumericalError", problems=[plain_problem(problem)])
    except Exception as error:  # noqa: BLE001  # whatever it is, the server goes on and says that it was our fault
        problem = Problem("internal", f"an error in Menura itself ({type(error).__name__})")
        emit("failed", error="MenuraError", problems=[plain_problem(problem)])


def _end_with(stream: IO[str]) -> None:
    stream.read()
    os._exit(1)


def _emitting(events: IO[str]) -> Emit:
    lock = threading.Lock()

    def emit(event: str, **data: Any) -> None:
        with lock:
            events.write(json.dumps({"event": event, "data": data}) + "\n")
            events.flush()

    return emit


def _adapt(
    emit: Emit, *, name: str, file: str, filename: str, reading: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Make a persona of a file; see ``AdaptRequest`` of the API for the settings."""
    import torch  # noqa: PLC0415  # a preview needs none

    from menura import api  # noqa: PLC0415  # likewise
    from menura.personas.held_out import verdict_of  # noqa: PLC0415  # likewise
    from menura.personas.selection import find_speaker  # noqa: PLC0415  # likewise

    torch.set_num_threads(1)

    def chosen(speakers: Any) -> str | None:
        return find_speaker(name, [(speaker, 1) for speaker in speakers], files=[filename])

    made = api.adapt(
        *(name, [Path(file)]),
        options=api.read_options(**reading),
        choose_speaker=chosen,
        on_step=_throttled(emit, "step"),
        on_control_step=_throttled(emit, "control"),
        say=lambda line: emit("said", line=line),
        offline=True,  # a server fetches nothing that a client names
        **settings,
    )
    if made is None:
        raise ConfigError("a dry run makes no persona")
    recipe = made.persona.artefact.recipe
    record = recipe.get("held_out") or {}
    verdict = verdict_of(record, str(recipe.get("speaker", "")))
    emit("check", **record, verdict=verdict, worse_than_base=record.get("likelier", 0) < 0)
    return {"name": name, "changed": made.saved.changed, "earlier": made.saved.earlier}


def _throttled(emit: Emit, event: str) -> Callable[[int, int, float], None]:
    last = -1.0

    def step(reply: int, replies: int, loss: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= BETWEEN_STEPS or reply == replies:
            last = now
            emit(event, reply=reply, replies=replies, loss=loss)

    return step


def _import_package(emit: Emit, *, name: str, file: str) -> dict[str, Any]:
    from menura import api  # noqa: PLC0415  # a preview needs no torch

    saved = api.import_package(Path(file), name, offline=True, say=lambda line: emit("said", line=line))
    return {"name": name, "changed": saved.changed, "earlier": saved.earlier}


def _import_peft(emit: Emit, *, name: str, folder: str, base: str) -> dict[str, Any]:
    from menura import api  # noqa: PLC0415  # a preview needs no torch

    saved = api.import_persona(Path(folder), name, base, offline=True, say=lambda line: emit("said", line=line))
    return {"name": name, "changed": saved.changed, "earlier": saved.earlier}


def _export_peft(emit: Emit, *, name: str, folder: str) -> dict[str, Any]:
    """Write peft's folder of a persona, and zip it; the base is called by its name, as no path leaves the server."""
    from menura import api  # noqa: PLC0415  # a preview needs no torch

    options = api.EngineOptions(base_name=str(api.persona_facts(name)["base"]))
    peft = api.export_persona(name, "peft", Path(folder) / f"{name}-peft", options, offline=True).path
    return {"path": shutil.make_archive(str(peft), "zip", peft)}


def _preview(emit: Emit, *, file: str, format: str | None, reading: Mapping[str, Any]) -> dict[str, Any]:
    from menura.corpus.chats.reading import read_options  # noqa: PLC0415  # as the others
    from menura.serve.previews import previewed  # noqa: PLC0415  # as the others

    limit_address_space(READING_BYTES)
    limit_processor(READING_SECONDS)
    return previewed(Path(file), format, read_options(**reading))


WORK: Mapping[str, Callable[..., dict[str, Any]]] = {
    "adapt": _adapt,
    "import_package": _import_package,
    "import_peft": _import_peft,
    "export_peft": _export_peft,
    "preview": _preview,
}

if __name__ == "__main__":
    main()
