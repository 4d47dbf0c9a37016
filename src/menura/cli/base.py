"""``menura base list | pull | show | check | prepare | export``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from menura import api
from menura.cli.exported import MERGED_DTYPE, engine_facts, engine_lines
from menura.cli.globals import EPILOG, Globals
from menura.cli.options import DTYPE
from menura.cli.terminal import Screen, StepProgress, columns

if TYPE_CHECKING:
    from menura.api import BaseCheck

app = typer.Typer(help="Bases: the language models that personas stand on.", epilog=EPILOG, no_args_is_help=True)
NAME = Annotated[
    str, typer.Argument(help="A known name, a folder, a .gguf file, a hub id, ollama:NAME or lmstudio:NAME.")
]
TERMS = typer.Option("--accept-terms", help="Accept the terms of use that the base comes under.")


@app.command("list", epilog=EPILOG)
def list_bases(context: typer.Context) -> None:
    """Show the bases known by name, and the models on this machine that can be one."""
    flags: Globals = context.obj
    bases, others = api.bases(), api.other_models()
    rows = [["name", "here", "source", "parameters", "licence", "about"]]
    for one in bases:
        size = "" if one["parameters"] is None else f"{one['parameters']:,}"
        rows.append([one["name"], "yes" if one["here"] else "", one["source"], size, one["licence"], one["about"]])
    default = next(one["name"] for one in bases if one["default"])
    text = f"{columns(rows)}\ndefault: {default}. A folder, a .gguf file or a hub id is a base as well."
    if others:
        named = [[one["name"], f"{one['size'] / 1e6:,.0f} MB", one["program"], one["path"]] for one in others]
        text += f"\n\n{columns([['models of other programs', 'size', 'of', 'where'], *named])}"
    facts = {
        "known": [one["name"] for one in bases if one["known"]],
        "here": [one["name"] for one in bases if one["here"]],
        "others": others,
    }
    Screen(as_json=flags.as_json).give("bases", facts, text)


@app.command(epilog=EPILOG)
def pull(context: typer.Context, name: NAME, accept_terms: Annotated[bool, TERMS] = False) -> None:
    """Fetch a base and convert it, once; its checksum is checked."""
    flags: Globals = context.obj
    screen = Screen(as_json=flags.as_json)
    base, folder = api.pull_base(name, accept_terms=accept_terms, offline=flags.offline, say=screen.say)
    screen.give("base", asdict(base), f"{base.name} is here: {folder}")


@app.command(epilog=EPILOG)
def show(context: typer.Context, name: NAME) -> None:
    """Show what a base on this machine is, and its hash."""
    flags: Globals = context.obj
    about = api.show_base(name)
    rows = [[key, f"{value:,}" if isinstance(value, int) else str(value)] for key, value in about.items()]
    facts = {key: value for key, value in about.items() if key != "folder"}
    Screen(as_json=flags.as_json).give("base", facts, columns(rows))


@app.command(epilog=EPILOG)
def check(context: typer.Context, name: NAME, dtype: DTYPE = "auto") -> None:
    """Load a base and say what it is, how a chat is written for it, and whether personas can be adapted on it."""
    flags: Globals = context.obj
    screen = Screen(as_json=flags.as_json)
    result = api.check_base(
        name,
        dtype=dtype,  # type: ignore[arg-type]  # checked where it is used
        device=flags.device,
        offline=flags.offline,
        say=screen.say,
    )
    rows = [[key, f"{value:,}" if isinstance(value, int) else str(value)] for key, value in result.facts.items()]
    sample = "\n".join(f"  | {line}" for line in result.sample.splitlines())
    verdict = f"{result.verdict}: {'; '.join(result.reasons)}" if result.reasons else result.verdict
    table = columns([*rows, *map(list, _measured(result).items())])
    text = f"{table}\na chat as it reads it:\n{sample}\ngood for adapting: {verdict}"
    facts = {
        **result.facts,
        "sample": result.sample,
        "seconds": result.seconds,
        "memory": result.memory,
        "bits_per_byte": result.bits_per_byte,
        "verdict": result.verdict,
        "reasons": list(result.reasons),
    }
    screen.give("base", facts, text)


def _measured(result: "BaseCheck") -> dict[str, str]:
    bits, seconds = result.bits_per_byte, result.seconds
    return {
        "everyday English": "not measured" if bits is None else f"{bits:.2f} bits a byte, nothing adapted",
        "a persona takes": "not measured" if seconds is None else f"about {max(seconds, 1):.0f} s for five dialogues",
        "memory so far": f"{result.memory / 1e9:.1f} GB",
    }


@app.command(epilog=EPILOG)
def prepare(
    context: typer.Context,
    name: NAME,
    fresh: Annotated[bool, typer.Option("--fresh", help="Train anew what was prepared before.")] = False,
) -> None:
    """Train a start for personas on a base, once, from the packaged dialogues; the same command resumes."""
    flags: Globals = context.obj
    screen = Screen(as_json=flags.as_json)
    result = api.prepare_base(
        name, flags.options, lambda run: StepProgress(screen, "prepare"), fresh=fresh, say=screen.say
    )
    if result is None:
        return
    written = f"wrote  {result.path}" if result.trained else f"same   {result.path} was there already"
    text = (
        f"{written}\n"
        f"perplexity of {result.speakers} validation speakers, nothing adapted: {result.before:.2f} before, "
        f"{result.after:.2f} prepared"
    )
    facts = {
        "path": str(result.path),
        "perplexity_before": result.before,
        "perplexity_prepared": result.after,
        "speakers": result.speakers,
        "trained": result.trained,
    }
    screen.give("prepared", facts, text)


@app.command(epilog=EPILOG)
def export(
    context: typer.Context,
    name: NAME,
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    original: Annotated[bool, typer.Option("--original", help="Without its checkpoint: what LoRA goes with.")] = False,
    dtype: MERGED_DTYPE = "auto",
) -> None:
    """Write a base as a model folder for engines, with its chat template; its LoRA checkpoint is merged into it."""
    flags: Globals = context.obj
    screen = Screen(as_json=flags.as_json)
    if flags.dry_run:
        screen.say(f"would write {out}")
        return
    result = api.export_base(
        *(name, out),
        original=original,
        dtype=dtype,  # type: ignore[arg-type]  # checked where it is used
        offline=flags.offline,
        say=screen.say,
    )
    facts = {"name": name, "path": str(result.path), **engine_facts(result)}
    screen.give("exported", facts, "\n".join([f"wrote {result.path}", *engine_lines(result)]))
