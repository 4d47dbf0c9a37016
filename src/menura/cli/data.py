"""``menura data check | stats | split | convert | add``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from menura.cli.globals import EPILOG, Globals
from menura.cli.screen import Screen, columns

if TYPE_CHECKING:
    from menura.corpus.dialogue import Dialogue

app = typer.Typer(help="Dialogues: look, count, split, convert.", epilog=EPILOG, no_args_is_help=True)
FILE = Annotated[Path, typer.Argument(help="A file of dialogues.")]
FILES = Annotated[list[Path], typer.Argument(help="Files of dialogues.")]
FORMAT = Annotated[str | None, typer.Option("--format", help="The format, if it is not to be detected.")]
MOST_SHOWN = 10  # speakers listed


@app.command(epilog=EPILOG)
def check(
    context: typer.Context,
    file: FILE,
    speaker: Annotated[str | None, typer.Option(help="Whose persona is to be learnt.")] = None,
    format: FORMAT = None,
) -> int:
    """List everything that is wrong with a file, with line and hint; nothing is written."""
    from menura.corpus.check import check as checked

    given: Globals = context.obj
    report = checked(file, format, speaker)
    found = report.statistics
    lines = [f"{file}  {report.format or 'format not recognised'}  {report.reason}"]
    lines.append(
        f"  dialogues {found.dialogues} · turns {found.turns} · speakers {found.speakers} · words {found.words}"
    )
    if speaker is not None and speaker in found.replies:
        lines.append(f"  replies of {speaker}: {found.replies[speaker]}")
    lines += [f"  {problem}" for problem in report.problems]
    lines.append(f"{len(report.errors)} kinds of error, {len(report.warnings)} kinds of warning. Nothing was written.")
    facts = {"file": str(file), "format": report.format, "problems": [vars(problem) for problem in report.problems]}
    Screen(as_json=given.as_json).give("check", {**facts, "dialogues": found.dialogues}, "\n".join(lines))
    return 3 if report.errors else 0


@app.command(epilog=EPILOG)
def stats(context: typer.Context, files: FILES, format: FORMAT = None) -> None:
    """Count dialogues, turns, words and who replies how often."""
    from menura.corpus.statistics import statistics

    given: Globals = context.obj
    found = statistics(_dialogues(files, format))
    most = sorted(found.replies.items(), key=lambda pair: -pair[1])
    quantiles = " ".join(f"{share:.0%}:{count}" for share, count in found.dialogues_per_speaker.items())
    rows = [
        ["dialogues", f"{found.dialogues:,}"],
        ["turns", f"{found.turns:,} ({found.turns_per_dialogue:g} a dialogue, median)"],
        ["words", f"{found.words:,} ({found.words_per_turn:g} a turn, median)"],
        ["speakers", f"{found.speakers:,}"],
        ["dialogues a speaker", quantiles],
        *([f"  {name}", f"{count} replies"] for name, count in most[:MOST_SHOWN]),
    ]
    Screen(as_json=given.as_json).give("stats", asdict(found), columns(rows))


@app.command(epilog=EPILOG)
def split(
    context: typer.Context,
    files: FILES,
    out: Annotated[Path, typer.Option("--out", help="Where the split is written, as JSON.")],
    shares: Annotated[str, typer.Option(help="train,valid,test")] = "0.8,0.1,0.1",
    needed: Annotated[int, typer.Option(help="Dialogues a held-out persona must have.")] = 2,
    format: FORMAT = None,
) -> None:
    """Split by persona: no persona and no dialogue on two sides; recorded with hashes."""
    from menura.artefacts.files import write_json
    from menura.tasks.group import grouped
    from menura.tasks.split import split as parted

    given: Globals = context.obj
    tasks = grouped(_dialogues(files, format))
    found = parted(tasks, _shares(shares), seed=given.seed, needed={"valid": needed, "test": needed})
    found.verify()
    record = found.record()
    if not given.dry_run:
        write_json(out, record)
    rows = [["side", "personas", "dialogues"]]
    for side, own in found.splits.items():
        rows.append([side, str(len(own)), str(len({d for task in own for d in task.dialogue_ids}))])
    facts = {"sha256": record["sha256"], "sides": {side: len(own) for side, own in found.splits.items()}}
    Screen(as_json=given.as_json).give(
        "split", facts, f"{columns(rows)}\nwrote {out}" if not given.dry_run else columns(rows)
    )


@app.command(epilog=EPILOG)
def convert(
    context: typer.Context,
    files: FILES,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    to: Annotated[str, typer.Option(help="The format to write.")] = "jsonl",
    format: FORMAT = None,
) -> None:
    """Write dialogues in another format; refused, with the reason, where something would be lost."""
    from menura.corpus.convert import write

    given: Globals = context.obj
    dialogues = _dialogues(files, format)
    if not given.dry_run:
        write(dialogues, out, to)
    Screen(as_json=given.as_json).give(
        "convert", {"dialogues": len(dialogues)}, f"{len(dialogues)} dialogues -> {out} ({to})"
    )


@app.command(epilog=EPILOG)
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What to call it: --set data.corpus=NAME.")],
    files: FILES,
    format: FORMAT = None,
) -> None:
    """Put a corpus into the workspace under a name, once it is read without error; recipes find it there."""
    from menura.artefacts import corpus_store

    given: Globals = context.obj
    dialogues = _dialogues(files, format)
    if not given.dry_run:
        corpus_store.add(name, files, format)
    folder = corpus_store.folder_of(name)
    facts = {"name": name, "dialogues": len(dialogues), "folder": str(folder)}
    Screen(as_json=given.as_json).give("added", facts, f"{name}: {len(dialogues)} dialogues -> {folder}")


def _dialogues(files: list[Path], format: str | None) -> "list[Dialogue]":
    from menura.corpus import catalogue, chitchat

    return catalogue.read([chitchat.installed() if str(f) == "chitchat" else f for f in files], format)


def _shares(text: str) -> dict[str, float]:
    from menura.errors import ConfigError, shown

    try:
        train, valid, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--shares {shown(text)}: three numbers wanted", hint="--shares 0.8,0.1,0.1") from error
    return {"train": train, "valid": valid, "test": test}
