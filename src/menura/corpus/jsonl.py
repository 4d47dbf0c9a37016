"""Menura's own lines become dialogues: one JSON object a line, the only format that keeps everything.

``{"dialogue_id": "a", "turns": [{"speaker": "Ann", "text": "hi"}, …],
"facts": {"Ann": […]}, "candidates": {"1": […]}, "profile": {"Ann": {"gender": "female", "interest": ["tea", …]}},
"context_only": [1]}``,
where all but ``turns`` may be left out; keys of ``candidates`` are turn indices from 0, and so are the turns of
``context_only``, which are read and never learnt.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from menura.corpus.dialogue import Dialogue, Profile, Turn
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.schema import KINDS, Schema
from menura.corpus.source import Source, opened
from menura.corpus.strict_json import Record, records, step
from menura.errors import Problem, shown

FIELDS = ("dialogue_id", "turns", "facts", "candidates", "profile", "context_only")
KEY_LIMIT = 64  # characters of a profile's key
MARK = re.compile(r'^\s*\{.*?"turns"\s*:\s*\[\s*(\{|\])', re.DOTALL)
SHAPES = ((MARK, 'JSON objects with "turns" of objects'),)  # of the start of a file, each with what it is


def read(path: Path) -> Iterator[Dialogue]:
    """Return the dialogues of a file, or raise one DataError with all that is wrong in it."""
    return strict(scan(opened(path)), str(path))


def scan(source: Source) -> Iterator[Found]:
    """Yield every dialogue and every problem, in the order of the lines."""
    for record in records(source):
        if isinstance(record, Problem):
            yield record
        else:
            yield from _draft(record, f"{source.stem}-{record.number}").found()


def render(dialogue: Dialogue) -> str:
    """Return the dialogue as one line."""
    record: dict[str, object] = {
        "dialogue_id": dialogue.dialogue_id,
        "turns": [{"speaker": turn.speaker, "text": turn.text} for turn in dialogue.turns],
    }
    if dialogue.facts:
        record["facts"] = {speaker: list(facts) for speaker, facts in dialogue.facts.items()}
    if dialogue.candidates:
        record["candidates"] = {str(index): list(given) for index, given in dialogue.candidates.items()}
    if dialogue.profiles:
        record["profile"] = {speaker: _written(known) for speaker, known in dialogue.profiles.items()}
    if dialogue.context_only:
        record["context_only"] = sorted(dialogue.context_only)
    return json.dumps(record, ensure_ascii=False) + "\n"


def _draft(record: Record, default_id: str) -> Draft:
    schema, value = Schema(record.place), record.value
    name = schema.text(value, "dialogue_id") if "dialogue_id" in value else default_id
    draft = Draft(name, record.place)
    candidates = _candidates(schema, value)
    for index, (path, item) in enumerate(schema.items(value, "turns")):
        fields = schema.fields(item, path)
        # A turn that is no object is one defect, not three.
        if fields or item == {}:
            turn = Turn(schema.text(fields, "speaker", path), schema.text(fields, "text", path))
            given = candidates.pop(index, ())
            if not schema.problems:
                draft.say(turn, record.place, given)
    draft.facts.update(_facts(schema, value))
    draft.profiles.update(_profiles(schema, value))
    draft.context_only.update(_context_only(schema, value, len(draft.turns)))
    for index in candidates if not schema.problems else ():
        schema.wrong(step("candidates", str(index)), "there is no such turn")
    draft.problems.extend(schema.problems)
    for key in value.keys() - set(FIELDS):
        draft.warn("unknown_field", f"field {shown(key)} is not known; ignored", record.place)
    return draft


def _facts(schema: Schema, value: dict[str, object]) -> dict[str, tuple[str, ...]]:
    facts = schema.fields(value.get("facts", {}), "facts")
    return {speaker: schema.texts(lines, step("facts", speaker)) for speaker, lines in facts.items()}


def _context_only(schema: Schema, value: dict[str, object], turns: int) -> set[int]:
    listed = schema.elements(value.get("context_only", []), "context_only")
    for path, index in listed:
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < turns:
            schema.wrong(path, "must be the index of a turn")
    return {index for _, index in listed if isinstance(index, int)}


def _profiles(schema: Schema, value: dict[str, object]) -> dict[str, Profile]:
    """Return what is known of each speaker; who has nothing known is left out."""
    given = schema.fields(value.get("profile", {}), "profile").items()
    profiles = {speaker: _profile(schema, known, step("profile", speaker)) for speaker, known in given}
    return {speaker: known for speaker, known in profiles.items() if known}


def _profile(schema: Schema, value: object, path: str) -> Profile:
    known: dict[str, tuple[str, ...]] = {}
    for key, given in schema.fields(value, path).items():
        at = step(path, key)
        if not key.strip() or len(key) > KEY_LIMIT or key != key.lower():
            schema.wrong(at, f"a key is 1 to {KEY_LIMIT} characters in lower case")
        if isinstance(given, str | list):
            listed = schema.elements(given, at) if isinstance(given, list) else [(at, given)]
            told = [schema.words(item, place, blank=True) for place, item in listed]
            known[key] = tuple(text for text in told if text.strip())
        else:
            schema.wrong(at, f"is {KINDS[type(given)]}, must be text or an array of texts")
    return {key: values for key, values in known.items() if values}


def _written(fields: Profile) -> dict[str, object]:
    return {key: values[0] if len(values) == 1 else list(values) for key, values in fields.items()}


def _candidates(schema: Schema, value: dict[str, object]) -> dict[int, tuple[str, ...]]:
    """Return the given replies by index into the turns as written in the file."""
    candidates: dict[int, tuple[str, ...]] = {}
    for key, given in schema.fields(value.get("candidates", {}), "candidates").items():
        path = step("candidates", key)
        if key.isascii() and key.isdigit() and len(key) < 7:
            candidates[int(key)] = schema.texts(given, path)
        else:
            schema.wrong(path, "must be the index of a turn")
    return candidates
