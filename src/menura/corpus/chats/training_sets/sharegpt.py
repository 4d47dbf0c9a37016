"""ShareGPT's rows become dialogues: ``{"conversations": [{"from": "human", "value": …}, …]}``.

They are lines, one array or one object. Speakers stay as they are written, be it a role or a name; system texts hold
facts of who answers, one a line.
"""

from collections.abc import Iterator
from itertools import count

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.json_shape import shape
from menura.corpus.chats.message import Event, Notes
from menura.corpus.chats.training_sets.json_rows import rows
from menura.corpus.chats.training_sets.json_turns import ANSWERING, ASKING, SPEAKER_KEYS, TEXT_KEYS, ConversationFields
from menura.corpus.strict_json import step

KEYS = ("conversations", "conversation")


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    found = shape(head)
    for key in KEYS:
        written = {path.removeprefix(f"{key}.item.") for path in found if path.startswith(f"{key}.item.")}
        # Exports of messengers have conversations too, of other things.
        texts = written.intersection(TEXT_KEYS)
        is_pairs = written.intersection(SPEAKER_KEYS) and texts
        is_empty = found.get(key) == "array" and f"{key}.item" not in found
        if is_pairs or is_empty or written.intersection((*ASKING, *ANSWERING)) or "from" in written:
            return f'JSON objects with "{key}"'
    return ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield each row's messages after their start."""
    number = count(1)
    for row in rows(file, notes, KEYS):
        talk = ConversationFields(row, notes)
        talk.tell(row.value.get("system"), step(row.path, "system"))
        key = next((key for key in KEYS if key in row.value), KEYS[0])
        for path, item in talk.schema.items(row.value, key, row.path):
            talk.say(item, path)
        yield from talk.events(number, _id(talk))


def _id(talk: ConversationFields) -> str:
    """Return the id of a row; published files number their conversations as often as they name them."""
    given = talk.row.value.get("id")
    if given is None:
        return ""
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    return talk.schema.words(given, step(talk.row.path, "id"))
