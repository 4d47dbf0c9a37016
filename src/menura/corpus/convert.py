"""Dialogues become a file in another format, only if reading it gives the same dialogues back."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from menura.corpus.atomic_files import write_whole
from menura.corpus.catalogue import FORMATS, Format, named
from menura.corpus.dialogue import Dialogue
from menura.corpus.source import Source
from menura.errors import ConfigError, DataError, Problem, number_of, shown

HINT = "jsonl keeps everything"


def write(dialogues: Iterable[Dialogue], path: Path, format: str) -> None:
    """Write the dialogues to ``path``, whole or not at all.

    Turns, facts, candidates and profiles come back as they were, ids only from jsonl. Raises ConfigError if the format
    is not written, DataError naming every dialogue that would lose something, StorageError if the disk refuses.
    """
    entry = named(format)
    if entry.render is None:
        known = ", ".join(name for name, other in FORMATS.items() if other.render)
        raise ConfigError(f"format {entry.name} is only read", code="unknown_format", hint=f"one of {known}")
    dialogues = list(dialogues)
    problems = [problem for dialogue in dialogues for problem in _losses(dialogue, entry, entry.render)]
    if not dialogues:
        problems = [Problem("empty", "no dialogues to write", str(path))]
    if problems:
        raise DataError.of(problems)
    content = "".join(entry.render(dialogue) for dialogue in dialogues).encode()
    _readable(content, path, entry)
    write_whole(path, content)


def _readable(content: bytes, path: Path, entry: Format) -> None:
    """Refuse what we would not read again."""
    lines = content.count(b"\n")
    if len(content) > entry.limits.file_bytes or lines > entry.limits.lines:
        found = f"{len(content) / 2**20:.1f} MiB in {number_of(lines, 'line')}"
        limit = f"{entry.limits.file_bytes // 2**20} MiB and {entry.limits.lines:,} lines"
        raise DataError(f"{found}, limit {limit}", code="too_large", place=str(path), hint="write several files")


def _losses(dialogue: Dialogue, entry: Format, render: Callable[[Dialogue], str]) -> Iterator[Problem]:
    """Yield what of a dialogue the format cannot hold: written and read again, it must be the same."""
    place = f"dialogue {shown(dialogue.dialogue_id)}"
    text = render(dialogue)
    try:
        text.encode()
        found = list(entry.scan(Source(place, "written", text, entry.limits)))
    except UnicodeEncodeError:
        yield Problem("encoding", "half of a surrogate pair cannot be written as UTF-8", place)
        return
    except DataError as error:
        yield from error.problems
        return
    found = [item for item in found if isinstance(item, Dialogue) or item.level == "error"]
    if len(found) == 1 and isinstance(found[0], Dialogue):
        lost = list(_differing(dialogue, found[0]))
    else:
        lost = ["the dialogue as a whole"]
    for what in lost:
        yield Problem("lossy", f"{entry.name} cannot hold {what}", place, HINT)


def _differing(dialogue: Dialogue, back: Dialogue) -> Iterator[str]:
    if dialogue.turns != back.turns:
        pairs = zip(dialogue.turns, back.turns, strict=False)  # a turn may be missing at the end
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(dialogue.turns), len(back.turns)))
        yield f"turns[{same}] as it is"
    if dict(dialogue.facts) != dict(back.facts):
        yield "its facts"
    if dict(dialogue.candidates) != dict(back.candidates):
        yield "its candidates"
    if dict(dialogue.profiles) != dict(back.profiles):
        yield "its profiles"
    if dialogue.context_only != back.context_only:
        yield "which turns are not learnt"
