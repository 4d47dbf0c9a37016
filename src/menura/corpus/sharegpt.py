"""ShareGPT's JSON becomes dialogues: ``{"conversations": [{"from": "human", "value": …}, …]}`` in an array or in lines.

Speakers are "human" and "gpt"; a system entry holds facts of "gpt", one a line.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.messages import facts_of
from menura.corpus.schema import Schema
from menura.corpus.source import Source, opened
from menura.corpus.strict_json import Record, array_records, records, step
from menura.errors import Problem, shown

SPEAKERS = ("human", "gpt")
MARK = re.compile(r'^\s*[\[{].*?"conversations"\s*:\s*\[', re.DOTALL)
SHAPES = ((MARK, 'JSON objects with "conversations"'),)  # of the start of a file, each with what it is


def read(path: Path) -> Iterator[Dialogue]:
    """Return the dialogues of a file, or raise one DataError with all that is wrong in it."""
    return strict(scan(opened(path)), str(path))


def scan(source: Source) -> Iterator[Found]:
    """Yield every dialogue and every problem, in the order of the file."""
    is_array = source.text.lstrip().startswith("[")
    for record in array_records(source) if is_array else records(source):
        if isinstance(record, Problem):
            yield record
        else:
            yield from _draft(record, f"{source.stem}-{record.number}").found()


def _draft(record: Record, default_id: str) -> Draft:
    schema = Schema(record.place)
    draft = Draft(_name(schema, record, default_id), record.place)
    for path, item in schema.items(record.value, "conversations", record.path):
        fields = schema.fields(item, path)
        if not isinstance(item, dict):
            continue
        speaker, text = schema.text(fields, "from", path), schema.text(fields, "value", path)
        if speaker == "system":
            draft.facts["gpt"] = draft.facts.get("gpt", ()) + facts_of(text)
        elif speaker in SPEAKERS:
            draft.say(Turn(speaker, text), record.place)
        elif speaker:
            schema.wrong(step(path, "from"), f"{shown(speaker)} is not one of system, {', '.join(SPEAKERS)}")
    draft.problems.extend(schema.problems)
    return draft


def _name(schema: Schema, record: Record, default_id: str) -> str:
    given = record.value.get("id", default_id)
    # Published files number their conversations as often as they name them.
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    return schema.words(given, step(record.path, "id"))
