"""Files, folders and archives that a person gives become dialogues, each file by its own format."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from menura.corpus.catalogue import Detected, detected, named
from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.files import chat_files
from menura.corpus.chats.message import Notes
from menura.corpus.chats.reading import NO_OPTIONS, ChatReading, ReadOptions
from menura.corpus.dialogue import Dialogue
from menura.corpus.findings import gathered, strict
from menura.corpus.source import Source
from menura.errors import DataError, Problem


@dataclass
class Input:
    """One file with its format; ``dialogues`` may be asked for once, ``notes`` are whole after that."""

    file: ChatFile
    detected: Detected
    options: ReadOptions = NO_OPTIONS
    reading: ChatReading | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.detected.format.chat is not None:
            self.reading = ChatReading(self.file, self.detected.format.chat, self.options)

    @property
    def notes(self) -> Notes | None:
        """What reading a chat changed and left out; None for a data set, which is read as it is."""
        return self.reading.notes if self.reading else None

    def dialogues(self) -> Iterator[Dialogue]:
        """Yield the dialogues; DataError with all that is wrong in the file."""
        if self.reading is not None:
            yield from self.reading.dialogues()
        elif self.file.path is not None:
            yield from self.detected.format.read(self.file.path)
        else:
            yield from strict(self.detected.format.scan(self._source()), self.file.name)

    def findings(self, each: Callable[[Dialogue], object]) -> list[Problem]:
        """Give every sound dialogue to a function, and return all problems of the file; no dialogue of a chat is kept.

        Of a file that cannot be read to its end, those before that are given.
        """
        entry = self.detected.format
        try:
            if self.reading is not None:
                for dialogue in self.reading.dialogues():
                    each(dialogue)
                return self.reading.notes.problems
            source = entry.opened(self.file.path, entry.limits) if self.file.path else self._source()
            found = gathered(entry.scan(source), self.file.name)
        except DataError as error:
            noted = self.reading.notes.problems if self.reading else []
            return [*error.problems, *(problem for problem in noted if problem not in error.problems)]
        for dialogue in found.dialogues:
            each(dialogue)
        return list(found.problems)

    def _source(self) -> Source:
        limits = self.detected.format.limits
        text = self.file.content(limits.file_bytes).decode("utf-8-sig", "strict")
        return Source(self.file.name, self.file.stem, text, limits)


def inputs(paths: Path | Sequence[Path], format: str | None = None, options: ReadOptions = NO_OPTIONS) -> list[Input]:
    """Return the inputs that some paths hold, in the order of their times; DataError with all that is wrong.

    In a folder or an archive, files of no known format are left out as long as one is of a known one. Files that are
    read together with another one (the two of a parallel corpus) are given once.
    """
    found, problems = _opened(paths, format, options)
    if problems:
        raise DataError.of(problems)
    return found


def read(paths: Path | Sequence[Path], format: str | None = None, options: ReadOptions = NO_OPTIONS) -> list[Dialogue]:
    """Return the dialogues of all files, ids made unique; one DataError with all that is wrong in any of them.

    Without ``format`` each file's own is detected. Files that belong together are read once.
    """
    return list(dialogues_of(*_opened(paths, format, options)))


def dialogues_of(found: Sequence[Input], problems: Sequence[Problem] = ()) -> Iterator[Dialogue]:
    """Yield the dialogues of some inputs, ids made unique; at the end one DataError with all that is wrong in any."""
    wrong = list(problems)
    seen: set[str] = set()
    for one in found:
        try:
            yield from unique(one.dialogues(), one.file.stem, seen)
        except DataError as error:
            wrong.extend(error.problems)
    if wrong:
        raise DataError.of(wrong)


def _opened(
    paths: Path | Sequence[Path], format: str | None, options: ReadOptions
) -> tuple[list[Input], list[Problem]]:
    entry = None if format is None else Detected(named(format), "as given")
    found: list[Input] = []
    problems: list[Problem] = []
    left_out: list[Problem] = []
    together: set[tuple[Path, ...]] = set()
    for file in chat_files([paths] if isinstance(paths, Path) else paths, options.encoding):
        try:
            own = entry or detected(file)
            files = own.format.files(file.path) if file.path is not None else ()
            if files not in together:
                together |= {files} if len(files) > 1 else set()
                found.append(Input(file, own, options))
        except DataError as error:
            ours = file.listed and error.problems[0].code in {"unknown_format", "empty"}
            (left_out if ours else problems).extend(error.problems)
    if all(one.notes is not None and one.notes.first_time for one in found):
        found.sort(key=lambda one: one.notes.first_time if one.notes else "")
    if left_out and not found and not problems:
        problems = [_none_of(left_out)]
    return found, problems


def _none_of(left_out: Sequence[Problem]) -> Problem:
    """Return one problem for the files of a folder or an archive of which none is a chat."""
    first = left_out[0]
    if len(left_out) == 1:
        return first
    return replace(first, message=f"none of {len(left_out)} files is a chat; this one: {first.message}")


def whole(paths: Sequence[Path], format: str | None = None) -> list[Path]:
    """Return these files and those that they are not read without, each once."""
    held = [(named(format) if format else detected(path).format).files(path) for path in paths]
    return list(dict.fromkeys(file for files in held for file in files))


def unique(dialogues: Iterator[Dialogue], stem: str, seen: set[str]) -> Iterator[Dialogue]:
    """Put the file's stem before an id that another file has too, and a number if that is taken as well."""
    for dialogue in dialogues:
        name, times = dialogue.dialogue_id, 1
        while name in seen:
            name = f"{stem}-{dialogue.dialogue_id}" if times == 1 else f"{stem}-{times}-{dialogue.dialogue_id}"
            times += 1
        seen.add(name)
        yield dialogue if name == dialogue.dialogue_id else replace(dialogue, dialogue_id=name)
