"""What is given for a corpus, archives too, becomes the files that are read; files of another corpus are refused."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote

from menura.corpus.atomic_files import reporting
from menura.corpus.catalogue import detected
from menura.corpus.published.catalogue import CORPORA, DNLI
from menura.corpus.published.members import Member, holds_members, members, path_of
from menura.corpus.published.records import PublishedCorpus
from menura.corpus.source import bare_name, head_of
from menura.corpus.strict_json import parsed
from menura.errors import ConfigError, DataError, MenuraError, Problem, number_of, shown

NAMES_LISTED = 4
NLI_MARKS = ("</s>", '"sentence1"')  # in the first lines of Dialogue NLI


@dataclass(frozen=True)
class CorpusFiles:
    """The files of a corpus that are read and stored; ``corpus`` is None for one that is not published.

    ``places`` has for each folder of unpacked files the archive that they are from.
    """

    corpus: PublishedCorpus | None
    files: tuple[Path, ...]
    places: Mapping[Path, Path] = field(default_factory=dict)

    def named(self, error: DataError) -> DataError:
        """Return an error that names members of the archives in place of unpacked files."""
        return type(error).of([self._named(problem) for problem in error.problems])  # type: ignore[return-value]

    def _named(self, problem: Problem) -> Problem:
        for folder, archive in self.places.items():
            place = problem.place.replace(f"{folder}/", f"{archive}:")
            message = problem.message.replace(f"{folder}/", f"{archive}:")
            problem = Problem(problem.code, message, place, problem.hint, problem.level, problem.count)
        return problem


def select(name: str, paths: Sequence[Path], folder: Path, *, any_format: bool = False) -> CorpusFiles:
    """Return the files to read, those of archives unpacked into ``folder``.

    A name that is none of the catalogue's takes the corpus whose files an archive has. ``any_format`` leaves files as
    they are whatever they look like. Raises ConfigError for a corpus that needs no adding or cannot be had, DataError
    for an archive without any file wanted, for one that is damaged, and for files of another corpus, with the command
    that adds it.
    """
    corpus = _addable(name)
    archives = [path for path in paths if holds_members(path)]
    if corpus is None and archives:
        corpus = _fitting(archives[0])
    if corpus is None:
        return CorpusFiles(None, tuple(paths))
    files: list[Path] = []
    places: dict[Path, Path] = {}
    problems: list[Problem] = []
    for number, path in enumerate(paths):
        other = _other_corpus(path, corpus, is_archive=path in archives, any_format=any_format)
        if other is not None:
            problems.append(_of_another(path, corpus, other))
        elif path in archives:
            places[folder / str(number)] = path
            files += _taken(path, corpus, folder / str(number))
        else:
            files.append(path)
    if problems:
        raise DataError.of(problems)
    return CorpusFiles(corpus, tuple(files), places)


def _addable(name: str) -> PublishedCorpus | None:
    """Return the published corpus of a name; ConfigError for one that is not added by its files."""
    corpus = CORPORA.get(name)
    if corpus is not None and corpus.access == "packaged":
        raise ConfigError(
            f"{name} comes with Menura: there is nothing to add", hint=f"menura data sources {name} shows more"
        )
    if corpus is not None and corpus.access == "none":
        raise ConfigError(f"{name} is not published: {corpus.note}", hint="choose another name for files of your own")
    return corpus


def _fitting(archive: Path) -> PublishedCorpus | None:
    """Return the corpus of which an archive has most files, by its own name if several have as many.

    None for an archive of anything else; a tar archive of anything else is refused.
    """
    held = list(members(archive))
    fits = {corpus.name: _fit(held, corpus) for corpus in CORPORA.values()}
    best = max(CORPORA.values(), key=lambda corpus: (corpus.file(archive.name) is not None, fits[corpus.name]))
    if fits[best.name]:
        return best
    if archive.name.lower().endswith((".tgz", ".tar.gz", ".tar")):
        message = f"it has no file of a published corpus: {_listed([member.name for member in held])}"
        raise DataError(
            message, code="no_members", place=str(archive), hint="unpack it and give the files of dialogues"
        )
    return None


def _fit(held: Sequence[Member], corpus: PublishedCorpus) -> int:
    """Return how many patterns of a corpus are matched; of one whose dialogues have plain names, all must be."""
    matched = sum(any(member.path.match(pattern) for member in held) for pattern in corpus.wanted)
    return 0 if corpus.joined and matched < len(corpus.wanted) else matched


def _other_corpus(path: Path, corpus: PublishedCorpus, *, is_archive: bool, any_format: bool) -> PublishedCorpus | None:
    """Return the corpus that a file is of, where that is another than the one wanted."""
    names = (path.name, bare_name(path))
    if any(corpus.file(name) for name in names):
        return None
    by_name = next((other for other in CORPORA.values() if any(other.file(name) for name in names)), None)
    if by_name is not None or is_archive or any_format:
        return by_name
    found = _format_of(path)
    if found in corpus.formats or (found == "nli" and corpus is DNLI):
        return None
    return next((other for other in CORPORA.values() if found in other.formats and other.given), None) or (
        DNLI if found == "nli" else None
    )


def _format_of(path: Path) -> str:
    """Return the format of a file, ``nli`` for pairs of Dialogue NLI; empty where reading it will say what is wrong."""
    try:
        if any(mark in head_of(path) for mark in NLI_MARKS):
            return "nli"
        return detected(path).format.name
    except MenuraError:
        return ""


def _of_another(path: Path, corpus: PublishedCorpus, other: PublishedCorpus) -> Problem:
    message = f"this is of another corpus: {other.about}; wanted {corpus.about}"
    return Problem("other_corpus", message, str(path), f"menura data add {other.name} {quote(str(path))}")


def _taken(archive: Path, corpus: PublishedCorpus, into: Path) -> list[Path]:
    """Write the members that a corpus wants into a folder, and return their files; DataError if there are none."""
    names: list[str] = []
    with reporting(into):
        into.mkdir(parents=True)
        for member in members(archive):
            names.append(member.name)
            if corpus.joined and member.path.match(corpus.joined.members):
                _append(into / corpus.joined.name, member, archive)
            elif any(member.path.match(pattern) for pattern in corpus.wanted):
                _write(into / member.path.name, member, archive)
    files = sorted(into.iterdir())
    if not files:
        raise DataError.of([_nothing_wanted(archive, names, corpus)])
    return files


def _write(path: Path, member: Member, archive: Path) -> None:
    if path.exists():
        message, hint = f"two files in it are called {shown(path.name)}", "unpack it and give those of one corpus"
        raise DataError(message, code="ambiguous", place=str(archive), hint=hint)
    with path.open("wb") as file:
        file.writelines(member.chunks(str(archive)))


def _append(path: Path, member: Member, archive: Path) -> None:
    """Add a JSON document as a line to a file."""
    place = f"{archive}:{member.name}"
    content = b"".join(member.chunks(str(archive)))
    try:
        value, problems = parsed(content.decode("utf-8-sig"), place)
    except UnicodeDecodeError as error:
        raise DataError(f"byte {error.start}: not UTF-8 text", code="encoding", place=place) from error
    if problems:
        raise DataError.of(problems)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(value, ensure_ascii=False)}\n")


def _nothing_wanted(archive: Path, names: Sequence[str], corpus: PublishedCorpus) -> Problem:
    for other in CORPORA.values():
        if any(path_of(name).match(pattern) for name in names for pattern in other.wanted):
            return _of_another(archive, corpus, other)
    wanted = ", ".join(corpus.wanted)
    message = f"none of the files of {corpus.name} is in it ({wanted}); it has {_listed(names)}"
    return Problem("no_members", message, str(archive), f"menura data sources {corpus.name} shows what to fetch")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMES_LISTED
    listed = ", ".join(shown(name) for name in names[:NAMES_LISTED]) or "no files"
    return f"{listed} and {number_of(more, 'other')}" if more > 0 else listed
