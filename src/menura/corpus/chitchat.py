"""The installed chitchat data set becomes dialogues: real conversations, each speaker known across all of theirs.

``{conversation: {"messages": [[{"text", "timestamp", "sender"}, …], …], …}, …}``, each inner array one turn.
Conversations with other than two senders, or fewer than 6 turns, are no dialogues and are passed over without a word.
"""

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from menura.corpus.dialogue import Dialogue, Turn, joined
from menura.corpus.findings import Draft, Found, strict
from menura.corpus.package_files import file_of
from menura.corpus.schema import Schema
from menura.corpus.source import DATA_SET, Source, opened
from menura.corpus.strict_json import parsed, step

PACKAGE, FILE = "chitchat-dataset", "chitchat_dataset/dataset.json"
FEWEST_TURNS = 6
MARK = re.compile(r'^\s*\{\s*"[^"]*"\s*:\s*\{.*?"messages"\s*:\s*\[\s*(\[|\])', re.DOTALL)
SHAPES = (
    (MARK, 'JSON object of conversations with "messages" of arrays'),
)  # of the start of a file, each with what it is


def installed() -> Path:
    """Return where the package's data file lies; its code is never run. Raises StorageError if it is not there."""
    return file_of(PACKAGE, FILE)


def read(path: Path) -> Iterator[Dialogue]:
    """Return the dialogues of a file, or raise one DataError with all that is wrong in it."""
    return strict(scan(opened(path, DATA_SET)), str(path))


def scan(source: Source) -> Iterator[Found]:
    """Yield every dialogue and every problem, in the order of the file; ids are the file's own."""
    value, problems = parsed(source.text, source.name)
    yield from problems
    if problems:
        return
    schema = Schema(source.name)
    for name, conversation in schema.fields(value, "file").items():
        yield from _found(name, conversation, source.name)
    yield from schema.problems


def _found(name: str, conversation: object, place: str) -> Iterator[Found]:
    schema, draft = Schema(place), Draft(name, place)
    path = step("", name)
    turns = [
        _turns(schema, messages, at)
        for at, messages in schema.items(schema.fields(conversation, path), "messages", path)
    ]
    yield from schema.problems
    # One sender often goes on in a new array; that is how the file is made and nothing to warn of.
    said = tuple(chain.from_iterable(turns))
    if schema.problems or len({turn.speaker for turn in said}) != 2 or len(joined(said)) < FEWEST_TURNS:
        return
    for turn in joined(tuple(turn for turn in said if turn.text.strip())):
        draft.say(turn, place)
    yield from draft.found()


def _turns(schema: Schema, messages: object, path: str) -> tuple[Turn, ...]:
    """Return the messages; the file has some that are empty, which count as turns but are not kept."""
    said: list[Turn] = []
    for at, item in schema.elements(messages, path):
        fields = schema.fields(item, at)
        if isinstance(item, dict):
            said.append(Turn(schema.text(fields, "sender", at), schema.text(fields, "text", at, blank=True)))
    return tuple(said)
