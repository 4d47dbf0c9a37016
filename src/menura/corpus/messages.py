"""Chat fine-tuning lines become dialogues: ``{"messages": [{"role": …, "content": …}, …]}``, one a line.

The format is the one OpenAI's fine-tuning takes. Roles are the speakers; a system message holds facts of the assistant,
one a line.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from menura.corpus.dialogue import Dialogue, Turn
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.schema import Schema
from menura.corpus.source import Source, opened
from menura.corpus.strict_json import Record, records
from menura.errors import Problem, shown

SPEAKERS = ("user", "assistant")
MARK = re.compile(r'^\s*\{.*?"messages"\s*:\s*\[\s*(\{|\])', re.DOTALL)
SHAPES = ((MARK, 'JSON objects with "messages" of objects'),)  # of the start of a file, each with what it is


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
    """Return the dialogue as one line; speakers other than user and assistant do not come back from it."""
    facts = "\n".join(dialogue.facts.get("assistant", ()))
    system = [{"role": "system", "content": facts}] if facts else []
    turns = [{"role": turn.speaker, "content": turn.text} for turn in dialogue.turns]
    return json.dumps({"messages": system + turns}, ensure_ascii=False) + "\n"


def _draft(record: Record, name: str) -> Draft:
    schema, draft = Schema(record.place), Draft(name, record.place)
    for path, item in schema.items(record.value, "messages"):
        fields = schema.fields(item, path)
        if not isinstance(item, dict):
            continue
        role, content = schema.text(fields, "role", path), schema.text(fields, "content", path)
        if role == "system":
            draft.facts["assistant"] = draft.facts.get("assistant", ()) + facts_of(content)
        elif role in SPEAKERS:
            draft.say(Turn(role, content), record.place)
        elif role:
            schema.wrong(f"{path}.role", f"{shown(role)} is not one of system, {', '.join(SPEAKERS)}")
    draft.problems.extend(schema.problems)
    return draft


def facts_of(content: str) -> tuple[str, ...]:
    """Return the lines of a system message that are not blank."""
    return tuple(line.strip() for line in content.split("\n") if line.strip())
