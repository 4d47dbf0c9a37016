"""Persona-Chat as lines of JSON becomes dialogues between "partner" and "self".

``{"persona": [fact, …], "turns": [[partner's text, own text], …], "split": "train", …}``; other fields are not needed.
Where a split is given, ids are ``<split>-<n>``, so that the sides of the published data can be told apart.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from menura.corpus.dialogue import Dialogue
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.personachat import OWN, say_both
from menura.corpus.schema import Schema
from menura.corpus.source import Source, opened
from menura.corpus.strict_json import Record, records
from menura.errors import Problem

MARK = re.compile(r'^\s*\{.*?"turns"\s*:\s*\[\s*\[', re.DOTALL)
SHAPES = ((MARK, 'JSON objects with "turns" of pairs'),)  # of the start of a file, each with what it is


def read(path: Path) -> Iterator[Dialogue]:
    """Return the dialogues of a file, or raise one DataError with all that is wrong in it."""
    return strict(scan(opened(path)), str(path))


def scan(source: Source) -> Iterator[Found]:
    """Yield every dialogue and every problem, in the order of the lines."""
    for record in records(source):
        if isinstance(record, Problem):
            yield record
        else:
            yield from _draft(record, source.stem).found()


def _draft(record: Record, stem: str) -> Draft:
    schema, value = Schema(record.place), record.value
    side = schema.text(value, "split") if "split" in value else stem
    draft = Draft(f"{side}-{record.number}", record.place)
    if "persona" in value:
        facts = schema.texts(value["persona"], "persona")
        draft.facts.update({OWN: tuple(fact.strip().removesuffix(".") for fact in facts)} if facts else {})
    for path, pair in schema.items(value, "turns"):
        match schema.elements(pair, path):
            case [(_, str(partner)), (_, str(own))]:
                say_both(draft, partner, own, record.place)
            case [] if not isinstance(pair, list):
                pass
            case _:
                schema.wrong(path, "must be two texts: the partner's, the own")
    draft.problems.extend(schema.problems)
    return draft
