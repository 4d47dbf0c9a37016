"""``menura persona list | show | history | back | memory | rename | export | import | rm``."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from menura import api
from menura.cli.exported import MERGED_DTYPE, engine_facts, engine_lines, memory_line
from menura.cli.globals import EPILOG, Globals
from menura.cli.terminal import Screen, columns
from menura.errors import number_of, printable

app = typer.Typer(help="Personas of this workspace.", epilog=EPILOG, no_args_is_help=True)
NAME = Annotated[str, typer.Argument(help="A persona's name.")]
TO = typer.Option(
    help="charx (a card with our weights in it), png or json (a card alone); peft (LoRA as peft, SGLang and Ray read "
    "it), vllm (such a folder in a folder of them) or merged (a whole model)."
)
BASE_NAME = typer.Option(help="What the engine calls the base, to the letter; else its folder or hub id.")
DISTIL = typer.Option("--distil", help="Train LoRA that answers as a persona does whose weights cannot leave.")
DIALOGUES = typer.Option("--dialogues", help="The person's dialogues, for --distil; more than once if need be.")
FORGET = typer.Option("--forget", help="The number of an exchange to forget; several times for more.")
WITH_MEMORY = typer.Option("--with-memory", help="Put what the persona remembers, word for word, in a charx as well.")
ALONE = ("png", "json")


@app.command("list", epilog=EPILOG)
def list_personas(context: typer.Context) -> None:
    """Show all personas."""
    given: Globals = context.obj
    found = api.personas()
    rows = [["name", "version", "base", "learnt from", "made", "size"]]
    for one in found:
        told = f"cannot be read: {one['error']}" if "error" in one else _learnt_from(one)
        rows.append([one["name"], str(one["version"]), one.get("base", ""), told, one["made"], _kib(one["bytes"])])
    text = columns(rows) if found else "no personas yet: menura adapt NAME FILES makes one"
    Screen(as_json=given.as_json).give("personas", {"personas": found}, text)


@app.command(epilog=EPILOG)
def show(context: typer.Context, name: NAME) -> None:
    """Show how a persona was made and how it did on held-out dialogues; --json has all settings."""
    given: Globals = context.obj
    facts = api.persona_facts(name)
    Screen(as_json=given.as_json).give("persona", facts, columns(list(_page(facts))))


def _page(facts: Mapping[str, Any]) -> Iterator[list[str]]:
    """Yield the rows of what is known of a persona, those that say something alone."""
    made_from = [*facts["files"], *(["a character card"] if facts["from_card"] else [])]
    learnt = _learnt_from(facts)
    if pick := {"recent": "the most recent", "spread": "spread over all"}.get(facts["pick"]):
        learnt += f" ({pick})"
    told = {
        "name": [facts["name"]],
        "speaker": [facts["speaker"]],
        "from": [", ".join(made_from)],
        "base": [facts["base"]],
        "learnt from": [learnt],
        "method": [facts["method"]],
        "check": facts["check"] or ["no dialogue was held out, so whether it helped is not known"],
        "memory": [_remembered(facts)],
        "greetings": facts["first_lines"],
        "facts": facts["facts"],
        "made": [facts["made"]],
        "file": [f"{facts['path']} ({_kib(facts['bytes'])}, {number_of(facts['values'], 'value')})"],
        "versions": [", ".join(facts["versions"])],
    }
    for what, lines in told.items():
        for number, line in enumerate(line for line in lines if line):
            yield [what if not number else "", " ".join(line.split())]


def _remembered(facts: Mapping[str, Any]) -> str:
    if not facts["remembered"]:
        return ""
    return f"{number_of(facts['remembered'], 'exchange')}, word for word: menura persona memory {facts['name']}"


@app.command(epilog=EPILOG)
def history(context: typer.Context, name: NAME) -> None:
    """Show the versions of a persona, the current one last."""
    given: Globals = context.obj
    versions = api.persona_history(name)
    rows = [["version", "made", "learnt from", "held-out check", ""]]
    rows += [[str(one["version"]), one["made"], *_told_of(one)] for one in versions]
    Screen(as_json=given.as_json).give("history", {"name": name, "versions": versions}, columns(rows))


def _told_of(version: Mapping[str, Any]) -> list[str]:
    """Return what a version learnt from, its check, and what it is among the versions."""
    place = ["current"] if version["current"] else []
    place += [f"the same as version {version['same_as']}"] if version["same_as"] else []
    if "error" in version:
        return [f"cannot be read: {version['error']}", "", ", ".join(place)]
    if version["from_version"] and not version["same_as"]:
        added = number_of(version["added_dialogues"], "dialogue")
        place.append(f"version {version['from_version']} and {added} more")
    before, after = version["ppl_before"], version["ppl_after"]
    check = "none held out" if before is None or after is None else f"PPL {before:.1f} -> {after:.1f}"
    return [_learnt_from(version), check, ", ".join(place)]


@app.command(epilog=EPILOG)
def back(
    context: typer.Context,
    name: NAME,
    version: Annotated[
        int | None, typer.Argument(help="Its number; the one before the current one if left out.")
    ] = None,
) -> None:
    """Make an earlier version of a persona the current one; the current one stays as a version."""
    given: Globals = context.obj
    number, saved = api.back(name, version, dry_run=given.dry_run)
    told = f"{name} is as version {number} was"
    if given.dry_run:
        told = f"would make version {number} of {name} the current one"
    elif saved.earlier:
        told += f"; what it was until now is {saved.earlier} (menura persona back {name})"
    facts = {"name": name, "version": number, "earlier": saved.earlier, "changed": saved.changed}
    Screen(as_json=given.as_json).give("back", facts, told)


@app.command(epilog=EPILOG)
def memory(
    context: typer.Context,
    name: NAME,
    line: Annotated[str, typer.Option("--for", help="Show those alone that are recalled for this line.")] = "",
    forget: Annotated[list[int] | None, FORGET] = None,
    redact: Annotated[bool, typer.Option("--redact", help="Replace numbers, addresses and the like in all.")] = False,
    clear: Annotated[bool, typer.Option("--clear", help="Forget all.")] = False,
) -> None:
    """Show what a persona remembers word for word, or take it out of all versions."""
    flags: Globals = context.obj
    screen = Screen(as_json=flags.as_json)
    if forget or redact or clear:
        change = api.change_memory(name, forget=forget or (), redact=redact, clear=clear, dry_run=flags.dry_run)
        text = f"would have: {change}" if flags.dry_run else f"{change}. What the weights learnt from them stays"
        screen.give("memory", {"name": name, **asdict(change)}, text)
        return
    exchanges = api.persona_memory(name, line)
    shown = [f"{one['number']:>4}  {_one_line(one['before'])}\n      > {_one_line(one['reply'])}" for one in exchanges]
    screen.give("memory", {"name": name, "exchanges": exchanges}, "\n".join(shown) or "nothing fits this line")


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _learnt_from(facts: Mapping[str, Any]) -> str:
    counts = ((facts["replies"], "reply"), (facts["dialogues"], "dialogue"))
    return " in ".join(number_of(count, what) for count, what in counts if count is not None)


def _kib(size: int) -> str:
    return f"{size / 1024:,.0f} KiB"


@app.command(epilog=EPILOG)
def export(
    context: typer.Context,
    name: NAME,
    to: Annotated[str, TO] = "charx",
    out: Annotated[Path | None, typer.Option("--out", help="What to write; else NAME.charx, NAME-peft, …")] = None,
    base_name: Annotated[str, BASE_NAME] = "",
    max_rank: Annotated[int, typer.Option(min=1, help="The highest rank of LoRA that the engine takes.")] = 16,
    dtype: MERGED_DTYPE = "auto",
    distil: Annotated[bool, DISTIL] = False,
    dialogues: Annotated[list[Path] | None, DIALOGUES] = None,
    with_memory: Annotated[bool, WITH_MEMORY] = False,
    speaker: Annotated[str | None, typer.Option(help="Whose replies --distil learns from.")] = None,
) -> None:
    """Write a persona for other programs: as a character card, as LoRA for engines, or as a whole model."""
    flags: Globals = context.obj
    screen = Screen(as_json=flags.as_json)
    endings = {"peft": "-peft", "vllm": "-vllm", "merged": "-merged"}
    path = out or Path(f"{name}{endings.get(to, f'.{to}')}")
    options = api.EngineOptions(
        base_name=base_name,
        max_rank=max_rank,
        dtype=dtype,  # type: ignore[arg-type]  # checked where it is used
        distil=distil,
        dialogues=tuple(dialogues or ()),
        speaker=speaker,
    )
    # What a card alone leaves out must not be found out in another program.
    alone = " (the card alone: what the persona learnt is in its weights, which charx holds)" if to in ALONE else ""
    if flags.dry_run:
        api.check_export(name, to, with_memory=with_memory)
        screen.give("exported", {"name": name, "path": str(path)}, f"would write {path}{alone}")
        return
    result = api.export_persona(
        *(name, to, path, options),
        with_memory=with_memory,
        offline=flags.offline,
        on_step=lambda step, steps, loss: screen.bar("distil  step", step, steps, f"loss {loss:.2f}"),
        say=screen.say,
    )
    memory = asdict(result.memory) if result.memory else None
    facts = {"name": name, "path": str(result.path), "weights": not alone, "memory": memory, **engine_facts(result)}
    lines = [f"wrote {result.path}{alone}", *engine_lines(result), memory_line(result)]
    screen.give("exported", facts, "\n".join(filter(None, lines)))


@app.command("import", epilog=EPILOG)
def import_folder(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="A folder of LoRA as peft writes it, or a .persona file.")],
    name: Annotated[str, typer.Option("--name", help="What the persona is to be called.")],
    base: Annotated[str, typer.Option(help="The base that it was trained on.")] = "shipped",
) -> None:
    """Make a persona of LoRA that peft or another program trained, or of a package from another machine."""
    flags: Globals = context.obj
    screen = Screen(as_json=flags.as_json)
    if flags.dry_run:
        screen.say(f"would make persona {name} of {folder}")
        return
    if folder.is_file():
        saved = api.import_package(folder, name, offline=flags.offline, say=screen.say)
    else:
        saved = api.import_persona(folder, name, base, offline=flags.offline, say=screen.say)
    kept = f"\n       the persona before it is {saved.earlier}" if saved.earlier else ""
    text = f"wrote  {saved.path} ({_kib(saved.path.stat().st_size)}){kept}\ntry    menura chat {name}"
    facts = {"name": name, "path": str(saved.path), "earlier": saved.earlier, "changed": saved.changed}
    screen.give("imported", facts, text)


@app.command(epilog=EPILOG)
def rm(context: typer.Context, name: NAME) -> None:
    """Delete a persona; one that is not there is no error."""
    given: Globals = context.obj
    there = any(one["name"] == name for one in api.personas())
    if not given.dry_run:
        api.delete_persona(name)
    told = f"removed {name}" if there else f"{name} is not in this workspace"
    Screen(as_json=given.as_json).give("removed", {"name": name, "was_there": there}, told)


@app.command(epilog=EPILOG)
def rename(
    context: typer.Context,
    old: Annotated[str, typer.Argument(help="What the persona is called.")],
    new: Annotated[str, typer.Argument(help="What it is to be called.")],
) -> None:
    """Give a persona, with all its versions, another name."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    if given.dry_run:
        screen.say(f"would call {old} {new}")
        return
    path = api.rename_persona(old, new)
    screen.give("renamed", {"name": new, "before": old, "path": str(path)}, f"{old} is now {new}")
