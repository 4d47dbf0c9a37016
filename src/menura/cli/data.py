"""``menura data check | formats | stats | split | convert | sources | add``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from menura import api
from menura.cli.globals import EPILOG, Globals
from menura.cli.reading import DATES, DROP_LINKS, ENCODING, GAP, REDACT, SAME, options_of
from menura.cli.terminal import Screen, columns
from menura.errors import LISTED_AT_MOST, number_of

if TYPE_CHECKING:
    from menura.corpus.check import Report
    from menura.corpus.published.records import PublishedCorpus

app = typer.Typer(help="Dialogues: look, count, split, convert, find and store.", epilog=EPILOG, no_args_is_help=True)
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
    every: Annotated[bool, typer.Option("--all", help="Show all kinds of problems, not the first 20.")] = False,
    gap: GAP = None,
    dates: DATES = "",
    same: SAME = None,
    encoding: ENCODING = "",
    redact: REDACT = False,
    drop_links: DROP_LINKS = False,
) -> int:
    """List everything that is wrong with a file, with line and hint; nothing is written."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    options = options_of(gap, dates, same, encoding, redact=redact, drop_links=drop_links)
    reports = api.check_file(file, format, speaker, options)
    # Those with errors come first, so that all of these are seen where there are many files.
    listed = reports
    if len(reports) > LISTED_AT_MOST and not (every or given.as_json):
        listed = sorted(reports, key=lambda report: not report.errors)[:LISTED_AT_MOST]
    for report in listed:
        found = report.statistics
        facts = {
            "file": report.name,
            "format": report.format,
            "problems": [vars(problem) for problem in report.problems],
            "dialogues": found.dialogues,
            **_facts_of(report),
        }
        screen.give("check", facts, "\n".join(_lines_of(report, speaker, every=every)))
    if len(reports) > len(listed):
        screen.say(f"… and {number_of(len(reports) - len(listed), 'more file')}: --all shows them")
    errors, warnings = (
        sum(len(kind) for kind in kinds) for kinds in zip(*((r.errors, r.warnings) for r in reports), strict=True)
    )
    screen.say(f"{_kinds(errors)} of error, {_kinds(warnings)} of warning. Nothing was written.")
    return 3 if errors else 0


def _kinds(count: int) -> str:
    return number_of(count, "kind")


def _lines_of(report: "Report", speaker: str | None, *, every: bool) -> list[str]:
    found = report.statistics
    reason = "" if report.reason == report.title else f"  {report.reason}"
    lines = [f"{report.name}  {report.title or 'format not recognised'}{reason}"]
    lines.append(
        f"  dialogues {found.dialogues} · turns {found.turns} · speakers {found.speakers} · words {found.words}"
    )
    replies = sorted(found.replies.items(), key=lambda pair: -pair[1])[:MOST_SHOWN]
    if speaker is not None and speaker in found.replies:
        lines.append(f"  replies of {speaker}: {found.replies[speaker]}")
    elif report.notes and replies:
        lines.append(f"  replies: {', '.join(f'{name} {count}' for name, count in replies)}")
    lines += [line.removeprefix("     ") for line in api.noted(report.notes)] if report.notes else []
    shown = report.problems if every else report.problems[:LISTED_AT_MOST]
    lines += [f"  {problem}" for problem in shown]
    if len(report.problems) > len(shown):
        lines.append(f"  … and {len(report.problems) - len(shown)} more: --all shows them")
    return lines


def _facts_of(report: "Report") -> dict[str, object]:
    notes = report.notes
    if notes is None:
        return {}
    counts = {"dropped": notes.dropped, "changed": notes.changed, "context_only": notes.context_only}
    times = {"first": notes.first, "last": notes.last, "dates": notes.order, "cut": notes.cut}
    return {**{name: dict(+count) for name, count in counts.items()}, **times, "persona": notes.persona}


@app.command(epilog=EPILOG)
def formats(context: typer.Context) -> None:
    """List the formats that are read."""
    given: Globals = context.obj
    found = api.formats()
    Screen(as_json=given.as_json).give("formats", found, columns([[name, title] for name, title in found.items()]))


@app.command(epilog=EPILOG)
def stats(
    context: typer.Context,
    files: FILES,
    format: FORMAT = None,
    gap: GAP = None,
    dates: DATES = "",
    same: SAME = None,
    encoding: ENCODING = "",
) -> None:
    """Count dialogues, turns, words and who replies how often."""
    given: Globals = context.obj
    counted = api.count(files, format, options_of(gap, dates, same, encoding))
    found = counted.statistics
    most = sorted(found.replies.items(), key=lambda pair: -pair[1])
    quantiles = " ".join(f"{share:.0%}:{count}" for share, count in found.dialogues_per_speaker.items())
    rows = [
        ["dialogues", f"{found.dialogues:,}"],
        ["turns", f"{found.turns:,} ({found.turns_per_dialogue:g} a dialogue, median)"],
        ["words", f"{found.words:,} ({found.words_per_turn:g} a turn, median)"],
        ["speakers", f"{found.speakers:,}"],
        ["dialogues a speaker", quantiles],
        *([f"  {name}", number_of(count, "reply")] for name, count in most[:MOST_SHOWN]),
    ]
    told = "".join(f"\n{summary}" for summary in counted.summaries)
    Screen(as_json=given.as_json).give("stats", asdict(found), f"{columns(rows)}{told}")


@app.command(epilog=EPILOG)
def split(
    context: typer.Context,
    files: FILES,
    out: Annotated[Path, typer.Option("--out", help="Where the split is written, as JSON.")],
    shares: Annotated[str, typer.Option(help="train,valid,test")] = "0.8,0.1,0.1",
    min_heldout_dialogues: Annotated[int, typer.Option(help="Dialogues a held-out persona must have.")] = 2,
    format: FORMAT = None,
) -> None:
    """Split by persona: no persona and no dialogue in two splits; recorded with hashes."""
    given: Globals = context.obj
    found = api.split(
        files,
        _shares(shares),
        out=None if given.dry_run else out,
        min_heldout_dialogues=min_heldout_dialogues,
        seed=given.seed,
        format=format,
    )
    rows = [["split", "personas", "dialogues"]]
    for name, tasks in found.splits.items():
        rows.append([name, str(len(tasks)), str(len({d for task in tasks for d in task.dialogue_ids}))])
    facts = {"sha256": found.record()["sha256"], "splits": {name: len(tasks) for name, tasks in found.splits.items()}}
    written = "" if given.dry_run else f"\nwrote {out}"
    Screen(as_json=given.as_json).give("split", facts, f"{columns(rows)}{written}")


@app.command(epilog=EPILOG)
def convert(
    context: typer.Context,
    files: FILES,
    out: Annotated[Path, typer.Option("--out", help="The file to write.")],
    to: Annotated[str, typer.Option(help="The format to write.")] = "jsonl",
    format: FORMAT = None,
    gap: GAP = None,
    dates: DATES = "",
    same: SAME = None,
    encoding: ENCODING = "",
    redact: REDACT = False,
    drop_links: DROP_LINKS = False,
) -> None:
    """Write dialogues in another format; refused, with the reason, where something would be lost."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    options = options_of(gap, dates, same, encoding, redact=redact, drop_links=drop_links)
    written = api.convert(files, None if given.dry_run else out, to, format, options, screen.say)
    screen.give("convert", {"dialogues": written}, f"{number_of(written, 'dialogue')} -> {out} ({to})")


@app.command(epilog=EPILOG)
def sources(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A corpus by name; all in short, if it is left out.")] = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables of the documentation.")] = False,
) -> None:
    """Say where the corpora of the papers are published, and how they are added."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    found = api.sources(name)
    facts = {corpus.name: {**asdict(corpus), "command": corpus.command} for corpus in found}
    if markdown:
        text = api.sources_as_markdown()
    elif name:
        text = "\n".join(_details_of(found[0]))
    else:
        rows = [["name", "what", "licence"], *([one.name, one.about, one.licence] for one in found)]
        text = f"{columns(rows)}\nmenura data sources NAME says more of one"
    screen.give("sources", facts, text)


def _details_of(corpus: "PublishedCorpus") -> list[str]:
    rows = [
        ["source", corpus.source],
        ["licence", corpus.licence],
        ["used by", corpus.used_by],
        ["published", api.published_counts(corpus)],
        ["add by", corpus.command or "nothing: see below"],
    ]
    files = [line for file in corpus.files for line in _lines_of_file(vars(file))]
    return [f"{corpus.name}: {corpus.about}", columns(rows), *files, *([corpus.note] if corpus.note else [])]


def _lines_of_file(file: dict[str, Any]) -> list[str]:
    size = f"{file['size']:,} bytes" if file["size"] else "size not published"
    rows = [["  from", file["url"]]] if file["url"] else []
    checksum = f"{file['sha256']}  ({file['checksum_from']})" if file["sha256"] else "not published"
    return [f"{file['name']}  {size}", columns([*rows, ["  SHA-256", checksum]])]


@app.command(epilog=EPILOG)
def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What to call it: --set data.corpus=NAME.")],
    files: Annotated[list[Path], typer.Argument(help="Files of dialogues; those of a published corpus, also packed.")],
    format: FORMAT = None,
) -> None:
    """Put a corpus into the workspace under a name, once it is read without error; recipes find it there."""
    given: Globals = context.obj
    screen = Screen(as_json=given.as_json)
    facts = api.add_corpus(name, files, format, dry_run=given.dry_run, say=screen.say)
    unit = facts["unit"]
    told = f"{name}: {number_of(facts[f'{unit}s'], unit)} -> {facts['folder']}"
    screen.give("added", facts, "\n".join([told, *_compared(facts)]))


def _compared(facts: dict[str, Any]) -> list[str]:
    """Return what was counted beside what is published of a corpus."""
    splits = facts.get("splits", [])
    if not splits:
        return []
    with_turns = any(found["published_turns"] for found in splits)
    rows = [["split", f"{facts['unit']}s", "published", *(["turns", "published"] if with_turns else [])]]
    for found in splits:
        counts = [found["counted"], found["published"], *([found["turns"], found["published_turns"]] * with_turns)]
        rows.append([found["split"], *(f"{count:,}" if count else "-" for count in counts)])
    lines = [columns(rows), f"published: {facts['counts_from']}"] if facts["counts_from"] else [columns(rows)]
    if facts["missing"]:
        lines.append(f"not among the files: {', '.join(facts['missing'])}")
    if facts["missing"] or any(found["differs"] for found in splits):
        return [*lines, "not all as published: results do not compare with a paper's"]
    return [*lines, *([f"next: {facts['then']}"] if facts["then"] else [])]


def _shares(text: str) -> dict[str, float]:
    from menura.errors import ConfigError, shown

    try:
        train, valid, test = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--shares {shown(text)}: three numbers wanted", hint="--shares 0.8,0.1,0.1") from error
    return {"train": train, "valid": valid, "test": test}
