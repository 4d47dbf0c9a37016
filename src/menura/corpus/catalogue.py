"""A path becomes dialogues by the format it is in: the table of all formats, and finding the right one."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

from menura.corpus import (
    avsd,
    chitchat,
    cped,
    dailydialog,
    jsonl,
    messages,
    mojitalk,
    personachat,
    personachat_jsonl,
    personaldialog,
    real_persona_chat,
    sharegpt,
    transcript,
)
from menura.corpus.dialogue import Dialogue, Reader
from menura.corpus.findings import Found
from menura.corpus.source import DATA_SET, UPLOAD, Limits, Source, bare_name, head_of, opened, stem_of
from menura.errors import ConfigError, DataError, Problem, shown


def alone(path: Path) -> tuple[Path, ...]:
    """Return the one file that dialogues are read from."""
    return (path,)


Shapes = tuple[tuple[re.Pattern[str], str | Callable[[str], str]], ...]


@dataclass(frozen=True)
class Format:
    """One way to write dialogues down; ``render`` is None where Menura does not write it.

    ``shapes`` are patterns of the first few KiB of a file, each with the reason why it is of this format then, or a
    function that looks closer and returns the reason, empty if it is not.
    ``files`` are all that are read for a named one, the one that gives the dialogues its name first; ``endings`` are
    names that tell the format by themselves.
    """

    name: str
    read: Reader
    scan: Callable[[Source], Iterator[Found]]
    shapes: Shapes
    render: Callable[[Dialogue], str] | None = None
    limits: Limits = UPLOAD
    opened: Callable[[Path, Limits], Source] = opened
    files: Callable[[Path], tuple[Path, ...]] = alone
    endings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Detected:
    """The format a file is in, and why we think so."""

    format: Format
    reason: str


# In the order of detection: a line of Persona-Chat would pass for one of a transcript.
FORMATS = {
    entry.name: entry
    for entry in (
        Format("chitchat", chitchat.read, chitchat.scan, chitchat.SHAPES, limits=DATA_SET),
        Format("avsd", avsd.read, avsd.scan, avsd.SHAPES, limits=DATA_SET),
        Format(
            "real_persona_chat",
            real_persona_chat.read,
            real_persona_chat.scan,
            real_persona_chat.SHAPES,
            limits=DATA_SET,
            opened=real_persona_chat.opened_pair,
            files=real_persona_chat.files,
        ),
        Format(
            "personaldialog",
            personaldialog.read,
            personaldialog.scan,
            personaldialog.SHAPES,
            limits=DATA_SET,
        ),
        Format("cped", cped.read, cped.scan, cped.SHAPES, limits=DATA_SET),
        Format("jsonl", jsonl.read, jsonl.scan, jsonl.SHAPES, jsonl.render),
        Format("personachat_jsonl", personachat_jsonl.read, personachat_jsonl.scan, personachat_jsonl.SHAPES),
        Format("messages", messages.read, messages.scan, messages.SHAPES, messages.render),
        Format("sharegpt", sharegpt.read, sharegpt.scan, sharegpt.SHAPES),
        Format(
            "dailydialog",
            dailydialog.read,
            dailydialog.scan,
            dailydialog.SHAPES,
            limits=DATA_SET,
            opened=dailydialog.opened_pair,
            files=dailydialog.files,
        ),
        Format(
            "personachat",
            personachat.read,
            personachat.scan,
            personachat.SHAPES,
            personachat.render,
            limits=DATA_SET,
        ),
        Format(
            "mojitalk",
            mojitalk.read,
            mojitalk.scan,
            mojitalk.SHAPES,
            limits=DATA_SET,
            opened=mojitalk.opened_pair,
            files=mojitalk.files,
            endings=(mojitalk.QUERIES, mojitalk.REPLIES),
        ),
        Format("transcript", transcript.read, transcript.scan, transcript.SHAPES, transcript.render),
    )
}


def named(name: str) -> Format:
    """Return the format of this name; ConfigError with the nearest name if there is none."""
    if name in FORMATS:
        return FORMATS[name]
    near = get_close_matches(name, FORMATS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"formats: {', '.join(FORMATS)}"
    raise ConfigError(f"unknown format {shown(name)}", code="unknown_format", hint=hint)


def detected(path: Path) -> Detected:
    """Return the format by name or the first few KiB; DataError listing the formats if none fits, or if it is empty."""
    head = head_of(path)
    if not head.strip():
        raise DataError("no dialogues found", code="empty", place=str(path))
    by_name = _by_name(path)
    if by_name:
        return Detected(by_name, f"the name ends in {Path(bare_name(path)).suffix}")
    for entry in FORMATS.values():
        reason = _reason(entry, head)
        if reason:
            return Detected(entry, reason)
    hint = f"name it with --format, one of {', '.join(FORMATS)}"
    raise DataError("format not recognised", code="unknown_format", place=str(path), hint=hint)


def _reason(entry: Format, head: str) -> str:
    """Return why the start of a file is of a format, empty if it is not."""
    for shape, reason in entry.shapes:
        if shape.match(head) and (told := reason if isinstance(reason, str) else reason(head)):
            return told
    return ""


def detect(path: Path) -> str:
    """Return the name of the format a file is in."""
    return detected(path).format.name


def read(paths: Path | Sequence[Path], format: str | None = None) -> list[Dialogue]:
    """Return the dialogues of all files, ids made unique; one DataError with all that is wrong in any of them.

    Without ``format`` each file's own is detected. Files that belong together are read once.
    """
    entry = None if format is None else named(format)
    dialogues: list[Dialogue] = []
    problems: list[Problem] = []
    seen: set[str] = set()
    together: set[tuple[Path, ...]] = set()
    for path in [paths] if isinstance(paths, Path) else paths:
        try:
            own = entry or detected(path).format
            files = own.files(path)
            if files in together:
                continue
            together |= {files} if len(files) > 1 else set()
            found = own.read(path)
        except DataError as error:
            problems.extend(error.problems)
        else:
            dialogues.extend(_unique(found, stem_of(path), seen))
    if problems:
        raise DataError.of(problems)
    return dialogues


def whole(paths: Sequence[Path], format: str | None = None) -> list[Path]:
    """Return these files and those that they are not read without, each once."""
    held = [(named(format) if format else detected(path).format).files(path) for path in paths]
    return list(dict.fromkeys(file for files in held for file in files))


def _by_name(path: Path) -> Format | None:
    ending = Path(bare_name(path)).suffix
    return next((entry for entry in FORMATS.values() if ending in entry.endings), None)


def _unique(dialogues: Iterator[Dialogue], stem: str, seen: set[str]) -> Iterator[Dialogue]:
    """Put the file's stem before an id that another file has too, and a number if that is taken as well."""
    for dialogue in dialogues:
        name, times = dialogue.dialogue_id, 1
        while name in seen:
            name = f"{stem}-{dialogue.dialogue_id}" if times == 1 else f"{stem}-{times}-{dialogue.dialogue_id}"
            times += 1
        seen.add(name)
        yield dialogue if name == dialogue.dialogue_id else replace(dialogue, dialogue_id=name)
