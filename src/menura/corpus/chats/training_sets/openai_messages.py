"""Chat fine-tuning rows become dialogues: ``{"messages": [{"role": …, "content": …}, …]}`` as lines, array or object.

The format is the one OpenAI's fine-tuning takes. A name is the speaker, else the role; system and developer messages
hold facts of who answers, one a line. ``weight: 0`` is context and never learnt.
"""

import json
from collections.abc import Iterator
from itertools import count

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.json_shape import shape
from menura.corpus.chats.message import Event, Notes
from menura.corpus.chats.training_sets.json_rows import rows
from menura.corpus.chats.training_sets.json_turns import ConversationFields, facts_of
from menura.corpus.dialogue import Dialogue

__all__ = ["facts_of", "looks_like", "messages", "render"]

KEY = "messages"


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    found = shape(head)
    # Messengers call their arrays "messages" too, but nobody has a role there.
    if f"{KEY}.item.role" in found or (found.get(KEY) == "array" and f"{KEY}.item" not in found):
        return 'JSON objects with "messages" of objects'
    return ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield each row's messages after their start."""
    number = count(1)
    for row in rows(file, notes, (KEY,)):
        talk = ConversationFields(row, notes)
        for path, item in talk.schema.items(row.value, KEY, row.path):
            talk.say(item, path)
        yield from talk.events(number)


def render(dialogue: Dialogue) -> str:
    """Return the dialogue as one line; facts of others than the assistant do not come back from it."""
    facts = "\n".join(dialogue.facts.get("assistant", ()))
    system = [{"role": "system", "content": facts}] if facts else []
    turns = [{"role": turn.speaker, "content": turn.text} for turn in dialogue.turns]
    return json.dumps({KEY: system + turns}, ensure_ascii=False) + "\n"
