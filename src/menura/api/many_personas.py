"""``adapt --all``: a folder with a file for each person becomes a persona for each, in several processes."""

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from menura.adaptation.protocol import Adaptation
from menura.api.adapt_settings import AdaptSettings
from menura.api.agent import Model
from menura.api.make_persona import AdaptRequest, Person, learn, read_person
from menura.artefacts import persona_artefact, persona_store
from menura.artefacts.files import home
from menura.artefacts.persona_store import path_of, versions
from menura.errors import ConfigError, DataError, MenuraError, Problem, number_of, shown
from menura.models.catalogue import named_settings
from menura.personas.selection import dialogue_sha256
from menura.workers.executors import Workers
from menura.workers.run import Lost, results

State = Literal["made", "kept", "planned", "failed"]
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_]+")
LONGEST = 64  # characters of a name
LOST = Problem(
    "lost_worker",
    "the worker died, and died again when this was done alone",
    hint="its memory may be short: --dtype bfloat16, or smaller files",
)


@dataclass(frozen=True)
class PersonRecord:
    """What became of one person: ``made``, ``kept`` as it was made already, ``planned`` in a dry run, or ``failed``.

    ``said`` is what is doubtful, and of a plan what is learnt from.
    """

    name: str
    file: str
    state: State
    path: str = ""
    earlier: str = ""
    held_out: Mapping[str, Any] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class ManyAdapted:
    """What became of everybody, in the order of their names."""

    records: tuple[PersonRecord, ...]

    def count(self, state: State) -> int:
        """Return how many there are of a state."""
        return sum(record.state == state for record in self.records)

    def __str__(self) -> str:
        """Return how many personas were made, kept, planned and failed, as text."""
        words: dict[State, str] = {
            "made": "made",
            "kept": "kept as they were",
            "planned": "to make",
            "failed": "failed",
        }
        counts = [f"{self.count(state)} {word}" for state, word in words.items() if self.count(state)]
        return f"{number_of(len(self.records), 'person', 'people')}: {', '.join(counts)}"

    def check(self) -> None:
        """Raise DataError with the reasons of all whose persona was not made, each with its file."""
        problems = [
            replace(problem, place=_placed(record.file, problem.place))
            for record in self.records
            for problem in record.problems
        ]
        if problems:
            raise DataError.of(problems)


def adapt_all(
    folder: Path,
    request: AdaptRequest,
    workers: Workers,
    *,
    dry_run: bool = False,
    on_record: Callable[[int, int, PersonRecord], None] = lambda done, people, record: None,
) -> ManyAdapted:
    """Make a persona of each file, or sub-folder, of a folder; its name is the file's without the ending.

    ``request`` has the settings of all; its name and files are replaced. A persona that was made of the same dialogues,
    base and settings is kept, unless ``replace_old``. Weights depend neither on the number of workers nor on the
    executor. ``on_record`` is called as each person is done: how many are done, of how many, and what became of it.
    Raises ConfigError for names that cannot be told apart and for settings that cannot be meant, before any work.
    """
    requests = [replace(request, name=name, files=(file,)) for name, file in people_of(folder)]
    request.settings.known_method()
    records: dict[int, PersonRecord] = {}
    for place, record in enumerate(map(_planned, requests)) if dry_run else _made(requests, workers):
        records[place] = record
        on_record(len(records), len(requests), record)
    return ManyAdapted(tuple(records[place] for place in range(len(requests))))


def people_of(folder: Path) -> list[tuple[str, Path]]:
    """Return the personas' names and files of a folder, hidden ones left out.

    Raises ConfigError with every name that is none and all that two files would have, DataError for an empty folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"--all {folder}: no folder; a folder with a file for each person is wanted", code="missing")
    files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    if not files:
        raise DataError("no files in it", place=str(folder), hint="put a file for each person there", code="empty")
    people = [(legal_name(file.stem if file.is_file() else file.name), file) for file in files]
    problems = [problem for name, file in people for problem in _problems_of_name(name, file)]
    for name, same in _by_name(people).items():
        if len(same) > 1:
            listed = ", ".join(file.name for file in same)
            message = f"{listed} would all be persona {shown(name)}"
            problems.append(Problem("bad_name", message, place=str(folder), hint="rename all but one"))
    if problems:
        raise ConfigError.of(problems)
    return people


def _problems_of_name(name: str, file: Path) -> Iterator[Problem]:
    try:
        persona_store.check_new(name)
    except ConfigError:
        message = f"no persona can be called {shown(name)}" if name else "no letter of its name can be in a persona's"
        yield Problem("bad_name", message, place=str(file), hint="rename the file")


def _by_name(people: Sequence[tuple[str, Path]]) -> dict[str, list[Path]]:
    """Return the files of each name, by its first spelling: a file system may not tell capitals apart."""
    spelled: dict[str, str] = {}
    files: dict[str, list[Path]] = {}
    for name, file in people:
        files.setdefault(spelled.setdefault(name.casefold(), name), []).append(file)
    return files


def legal_name(stem: str) -> str:
    """Return a file's name as a persona's: letters without accents, and hyphens for all that is not allowed."""
    letters = "".join(c for c in unicodedata.normalize("NFKD", stem) if not unicodedata.combining(c))
    return NOT_IN_NAMES.sub("-", letters).strip("-_")[:LONGEST]


def _made(requests: Sequence[AdaptRequest], workers: Workers) -> Iterator[tuple[int, PersonRecord]]:
    # The first is made alone: the others find the base that it fetched and the control that it made.
    for place, result in results(adapt_one, requests, workers, first_alone=True):
        yield place, _failed(requests[place], [LOST]) if isinstance(result, Lost) else result


def _planned(request: AdaptRequest) -> PersonRecord:
    said: list[str] = []
    try:
        person = _read(request, said)
    except MenuraError as error:
        return _failed(request, error.problems)
    there = path_of(request.name).exists() and not request.replace_old
    planned = f"{person.planned}{'; a persona of this name is there, and is kept if it is the same' if there else ''}"
    return PersonRecord(request.name, str(request.files[0]), "planned", said=(*said, planned))


def adapt_one(request: AdaptRequest) -> PersonRecord:
    """Make one person's persona, in whatever process this is; what is wrong with the person becomes a record.

    What is wrong with the base or a setting would be so for everybody, and is raised.
    """
    said: list[str] = []
    model, method = _ready(request.settings, home())
    model.loaded.encoder.cut.clear()  # it counts what is left out of one person's dialogues
    try:
        person = _read(request, said)
        remembers = request.remember
        there = None if request.replace_old else made_already(request.name, person, model, method, remembers=remembers)
        if there:
            return PersonRecord(request.name, str(request.files[0]), "kept", str(there), said=tuple(said))
        made = learn(request, person, model, method)
    except MenuraError as error:
        return _failed(request, error.problems)
    except Exception as error:  # noqa: BLE001  # a fault that one person's file brings out must not stop all others
        return _failed(request, [Problem("internal", f"{type(error).__name__}: {error}. This is a bug")])
    held_out = made.persona.artefact.recipe["held_out"]
    path, earlier = str(made.saved.path), made.saved.earlier
    return PersonRecord(request.name, str(request.files[0]), "made", path, earlier, held_out, tuple(said))


@lru_cache(maxsize=1)
def _ready(settings: AdaptSettings, workspace: Path) -> tuple[Model, Adaptation]:
    """Return model and method of some settings, loaded once a process; another workspace may have another base."""
    del workspace
    return settings.loaded()


def _read(request: AdaptRequest, said: list[str]) -> Person:
    """Read a person's files; ``said`` gets the warnings."""
    heard: list[str] = []
    try:
        return read_person(request, lambda speakers: None, heard.append)
    finally:
        said += [line for told in heard for line in told.splitlines() if line.startswith("warn")]


def made_already(
    name: str, person: Person, model: Model, method: Adaptation, *, remembers: bool = False
) -> Path | None:
    """Return the version of a persona that was made of the same dialogues, base and settings; None: there is none.

    Where it is to remember, it must have a memory. An earlier one counts: whoever went on from it, or back behind it,
    meant to.
    """
    loaded, selection = model.loaded, person.selection
    wanted: dict[str, Any] = {
        "base_sha256": loaded.base.sha256,
        "start_sha256": loaded.init_sha256,
        "chat_format_sha256": loaded.encoder.chat_format.sha256,
        "model": named_settings(loaded.config),
        "facts": selection.facts,
        "method": {"name": method.name, **asdict(method)},
        "speaker": selection.speaker,
        "support_sha256": [dialogue_sha256(view) for view in selection.support],
    }
    wanted = json.loads(json.dumps(wanted))  # as a file has it
    for path in (path_of(version) for version in [name, *versions(name)]):
        try:
            about = persona_artefact.read_about(path) if path.exists() else {"recipe": {}}
        except (MenuraError, KeyError, TypeError, ValueError):
            continue  # damaged: it is made again
        same = {key: about.get(key, about["recipe"].get(key)) for key in wanted} == wanted
        if same and (about.get("memory_sha256") or not remembers):
            return path
    return None


def _placed(file: str, place: str) -> str:
    """Return where a problem is, with the person's file in front unless it is there already."""
    return place if place.startswith(file) else f"{file}: {place}".removesuffix(": ")


def _failed(request: AdaptRequest, problems: Sequence[Problem]) -> PersonRecord:
    return PersonRecord(request.name, str(request.files[0]), "failed", problems=tuple(problems))
