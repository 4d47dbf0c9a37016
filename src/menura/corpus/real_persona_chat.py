"""RealPersonaChat's two files become dialogues of people with ten facts and a profile each (Yamashita et al., 2023).

``dialogues.jsonl`` has the published files of one dialogue each as lines: ``{"dialogue_id", "interlocutors":
[…], "utterances": [{"interlocutor_id", "text"}, …]}``. ``interlocutors.json`` beside it tells who they are:
``{id: {"persona": [sentence, …], "demographic_information": {"gender", "age", …}}}``.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from menura.corpus.dialogue import Dialogue, Profile, Turn
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.schema import Schema
from menura.corpus.source import DATA_SET, PACKED_SUFFIXES, Limits, Source, bare_name, head_of, opened
from menura.corpus.strict_json import Record, parsed, records, step
from menura.errors import DataError, Problem, shown

PEOPLE = "interlocutors.json"
DIALOGUES = ".jsonl"  # how the name of the file of dialogues ends
# Key of a profile -> the file's word for it.
ATTRIBUTES = {
    "gender": "gender",
    "age": "age",
    "education": "education",
    "employment": "employment_status",
    "region": "region_of_residence",
}
MARK = re.compile(r'^\s*\{.{0,200}?"interlocutors"\s*:\s*\[', re.DOTALL)
PEOPLE_MARK = re.compile(r'^\s*\{\s*"[^"]*"\s*:\s*\{\s*"interlocutor_id"\s*:')
SHAPES = (
    (PEOPLE_MARK, "JSON object of interlocutors"),
    (MARK, 'JSON objects with "interlocutors"'),
)  # of the start of a file, each with what it is
JOINING = "join the published files, one dialogue a line: jq -c . dialogues/*.json > dialogues.jsonl"


@dataclass(frozen=True)
class People:
    """All speakers' facts and profiles, by id, and the name of their file."""

    name: str
    facts: Mapping[str, tuple[str, ...]]
    profiles: Mapping[str, Profile]


def read(path: Path) -> Iterator[Dialogue]:
    """Return the dialogues of a pair of files, either of which is named, or raise one DataError with all problems."""
    return strict(scan(opened_pair(path, DATA_SET)), str(path))


def scan(source: Source) -> Iterator[Found]:
    """Yield every dialogue and every problem, in order; ids are ``rpc-`` and the file's number."""
    if source.beside is None:
        yield Problem("missing_partner", f"dialogues without {PEOPLE}", source.name)
        return
    if re.match(r"\s*\{\s*\n", source.text):
        yield Problem("jsonl_syntax", "one dialogue over several lines", source.name, JOINING)
        return
    problems, people = _people(source.beside)
    yield from problems
    times: Counter[str] = Counter()
    for record in records(source) if not problems else ():
        if isinstance(record, Problem):
            yield record
        else:
            draft = _draft(record, people)
            times[draft.dialogue_id] += 1
            yield from _called_apart(draft, times[draft.dialogue_id]).found()


def files(path: Path) -> tuple[Path, ...]:
    """Return the files of dialogues and of people, one of which is named; DataError if the other is not beside it."""
    if bare_name(path) == PEOPLE:
        beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
        dialogues = (other for other in beside if bare_name(other).endswith(DIALOGUES) and _holds_dialogues(other))
        found, pair = next(dialogues, None), f"no file of dialogues (NAME{DIALOGUES}) is beside it"
        if found is not None:
            return (found, path)
    else:
        candidates = (path.with_name(PEOPLE + packing) for packing in ("", *PACKED_SUFFIXES))
        found, pair = next((other for other in candidates if other.is_file()), None), f"{PEOPLE} is not beside it"
        if found is not None:
            return (path, found)
    hint = f"put dialogues{DIALOGUES} and {PEOPLE} into one folder, packed or not"
    raise DataError(pair, code="missing_partner", place=str(path), hint=hint)


def opened_pair(path: Path, limits: Limits) -> Source:
    """Read both files; problems are reported at the file that has them."""
    dialogues, people = files(path)
    return replace(opened(dialogues, limits), beside=opened(people, limits))


def _holds_dialogues(path: Path) -> bool:
    return path.is_file() and bool(MARK.match(head_of(path)))


def _people(source: Source) -> tuple[list[Problem], People]:
    """Return all that is wrong with the file of people, and the people."""
    value, problems = parsed(source.text, source.name)
    schema = Schema(source.name)
    facts: dict[str, tuple[str, ...]] = {}
    profiles: dict[str, Profile] = {}
    for name, person in schema.fields({} if problems else value, "file").items():
        path = step("", name)
        told = schema.fields(person, path)
        facts[name] = tuple(schema.words(item, at) for at, item in schema.items(told, "persona", path))
        known = schema.fields(told.get("demographic_information", {}), step(path, "demographic_information"))
        profiles[name] = _profile(schema, known, facts[name], step(path, "demographic_information"))
    return [*problems, *schema.problems], People(source.name, facts, profiles)


def _profile(schema: Schema, keys: dict[str, object], facts: tuple[str, ...], path: str) -> Profile:
    told = {key: schema.text(keys, word, path, blank=True) for key, word in ATTRIBUTES.items() if word in keys}
    profile = {key: (value.strip(),) for key, value in told.items() if value.strip()}
    return {**profile, "persona": facts} if facts else profile


def _draft(record: Record, people: People) -> Draft:
    schema, value = Schema(record.place), record.value
    number = value.get("dialogue_id", record.number)
    if isinstance(number, bool) or not isinstance(number, int | str):
        schema.wrong("dialogue_id", "must be a number or text")
    draft = Draft(f"rpc-{number}", record.place)
    for path, item in schema.items(value, "utterances"):
        fields = schema.fields(item, path)
        if not isinstance(item, dict):
            continue
        turn = Turn(schema.text(fields, "interlocutor_id", path), schema.text(fields, "text", path))
        if turn.speaker and turn.speaker not in people.facts:
            schema.wrong(step(path, "interlocutor_id"), f"{shown(turn.speaker)} is not in {people.name}")
        if not schema.problems:
            draft.say(turn, record.place)
    speakers = [name for name in dict.fromkeys(turn.speaker for turn in draft.turns) if name in people.facts]
    draft.facts.update({name: people.facts[name] for name in speakers if people.facts[name]})
    draft.profiles.update({name: people.profiles[name] for name in speakers if people.profiles[name]})
    draft.problems.extend(schema.problems)
    return draft


def _called_apart(draft: Draft, times: int) -> Draft:
    """Return the draft under a name of its own: the published set gives two numbers twice."""
    if times > 1:
        draft.warn("id_twice", "dialogue_id stands twice; the later one gets a number", draft.place)
        draft.dialogue_id = f"{draft.dialogue_id}-{times}"
    return draft
