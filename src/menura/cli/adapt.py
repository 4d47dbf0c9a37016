"""``menura adapt NAME FILES``, and ``menura adapt --all FOLDER`` for many people at once."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from menura import api
from menura.cli.globals import Globals
from menura.cli.options import DTYPE, EXECUTOR, JOBS
from menura.cli.reading import DATES, DROP_LINKS, ENCODING, GAP, REDACT, SAME, options_of
from menura.cli.terminal import Screen
from menura.errors import ConfigError

if TYPE_CHECKING:
    from menura.api import AdaptRequest, PersonRecord, Workers

ALL = typer.Option("--all", help="A folder with a file, or a sub-folder, for each person: a persona for each.")
MORE = typer.Option("--more", help="Go on from the persona NAME with dialogues that it has not learnt from.")
PICK = typer.Option(help="Which dialogues: the most recent before those held out, or spread over all.")
REMEMBER = typer.Option(
    "--remember", help="Keep the person's exchanges, word for word, and recall those that fit in replies."
)
REPLACE = typer.Option("--replace", help="Discard a persona of this name; else it stays as an earlier version.")


def adapt(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the persona is to be called.", show_default=False)] = "",
    files: Annotated[list[Path] | None, typer.Argument(help="Chat exports, cards, folders, zip archives.")] = None,
    folder: Annotated[Path | None, ALL] = None,
    more: Annotated[bool, MORE] = False,
    executor: EXECUTOR = "local",
    jobs: Annotated[int, JOBS] = 1,
    speaker: Annotated[str | None, typer.Option(help="Whose persona it is, where NAME does not say.")] = None,
    shots: Annotated[int, typer.Option("-k", "--shots", help="Dialogues to learn from.")] = 5,
    pick: Annotated[str, PICK] = "recent",
    format: Annotated[str | None, typer.Option("--format", help="The format, if it is not to be detected.")] = None,
    gap: GAP = None,
    dates: DATES = "",
    same: SAME = None,
    encoding: ENCODING = "",
    redact: REDACT = False,
    drop_links: DROP_LINKS = False,
    base: Annotated[str, typer.Option(help="shipped, a base's name, a run's or another folder, a hub id.")] = "shipped",
    method: Annotated[str, typer.Option(help="How to learn: finetune, maml, cmaml. Else what serves best here.")] = "",
    dtype: DTYPE = "auto",
    remember: Annotated[bool, REMEMBER] = False,
    replace: Annotated[bool, REPLACE] = False,
) -> None:
    """Learn a persona from a handful of dialogues, and say whether it helped."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    _check_usage(name, files, folder, more=more)
    options = options_of(gap, dates, same, encoding, redact=redact, drop_links=drop_links)
    request = api.AdaptRequest(
        *(name, tuple(files or ()), speaker, shots),
        pick=pick,  # type: ignore[arg-type]  # checked where it is used
        format=format,
        options=options,
        settings=api.AdaptSettings(
            *(base, method, given.config, given.assignments, given.device, given.offline),
            dtype,  # type: ignore[arg-type]  # checked where it is used
        ),
        replace_old=replace,
        remember=remember,
    )
    if folder is not None:
        _adapt_all(folder, request, api.Workers(executor, jobs), screen, dry_run=given.dry_run)
        return
    steps = api.Steps(
        lambda reply, replies, loss: screen.bar("adapt  reply", reply, replies, f"loss {loss:.2f}"),
        lambda reply, replies, loss: screen.bar("control  reply", reply, replies, f"loss {loss:.2f}"),
    )
    made = api.adapt_as_asked(
        *(request, steps),
        choose_speaker=lambda speakers: _asked(speakers, screen),
        more=more,
        dry_run=given.dry_run,
        say=screen.say,
    )
    if made is None:
        return
    saved, persona = made.saved, made.persona
    kept = f"\n       the persona before it is {saved.earlier}" if saved.earlier else ""
    size = saved.path.stat().st_size
    wrote = f"wrote  {saved.path} ({size / 1024:,.0f} KiB)" if saved.changed else f"same   {saved.path} is this persona"
    facts = {
        "name": name,
        "path": str(saved.path),
        "bytes": size,
        "earlier": saved.earlier,
        "changed": saved.changed,
        "held_out": persona.artefact.recipe["held_out"],
    }
    screen.give("done", facts, f"{wrote}{kept}\ntry    menura chat {name}")


def _asked(speakers: Sequence[str], screen: Screen) -> str | None:
    """Ask whose persona it is where there is a terminal; None where there is none, or nobody is chosen."""
    if not screen.live or not screen.asks:
        return None
    for number, speaker in enumerate(speakers[:9], start=1):
        screen.say(f"  {number}  {speaker}")
    answer = input("Whose persona? (number or name) > ").strip()
    if answer.isdigit() and 1 <= int(answer) <= len(speakers):
        return speakers[int(answer) - 1]
    return answer if answer in speakers else None


def _check_usage(name: str, files: Sequence[Path] | None, folder: Path | None, *, more: bool) -> None:
    """Raise ConfigError for a line that names no persona and no folder, or both."""
    if folder is not None and (name or more):
        message = "--all and --more: one persona goes on at a time"
        if name:
            message = f"--all and NAME {name}: the personas are named after the files of the folder"
        raise ConfigError(message, hint="menura adapt --all FOLDER", code="usage")
    if folder is None and not files:
        message = f"Missing argument '{'FILES...' if name else 'NAME'}'."
        raise ConfigError(message, hint="menura adapt --help", code="usage")


def _adapt_all(folder: Path, request: "AdaptRequest", workers: "Workers", screen: Screen, *, dry_run: bool) -> None:
    """Adapt to everybody in a folder, and leave with an error that lists all whose persona was not made."""

    def show(done: int, people: int, record: "PersonRecord") -> None:
        if screen.as_json or dry_run:
            screen.give("person", asdict(record), f"{record.state}  {record.name}: {_summary(record)}")
        else:
            screen.bar("adapt  person", done, people, f"{record.name} {record.state}")

    adapted = api.adapt_all(folder, request, workers, dry_run=dry_run, on_record=show)
    for record in adapted.records:
        for line in record.said if not dry_run else ():
            screen.say(f"{record.name}: {line}")
    counts = {state: adapted.count(state) for state in ("made", "kept", "planned", "failed")}
    screen.give("done", {"people": len(adapted.records), **counts}, str(adapted))
    adapted.check()


def _summary(record: "PersonRecord") -> str:
    return " · ".join([*record.said, *(problem.message for problem in record.problems)])
