"""Rows of one question and one answer become dialogues of a user and an assistant.

Alpaca (``instruction``, ``input``, ``output``), ``prompt`` with ``completion`` or ``response``, ``question`` with
``answer``; ``history`` holds pairs that were said before (LLaMA-Factory), ``system`` facts of the assistant.
"""

from collections.abc import Iterator
from itertools import count

from menura.corpus.chats.chat_file import ChatFile
from menura.corpus.chats.json_shape import shape
from menura.corpus.chats.message import Event, Message, Notes
from menura.corpus.chats.training_sets.json_rows import rows
from menura.corpus.chats.training_sets.json_turns import ConversationFields
from menura.corpus.strict_json import step

USER, ASSISTANT = "user", "assistant"
# The key of what is asked, and those of the answer.
PAIRS = {
    "instruction": ("output", "response"),
    "prompt": ("completion", "response", "output"),
    "question": ("answer", "response"),
    "query": ("response", "answer"),
}
ALL_KEYS = frozenset(PAIRS)


def looks_like(head: str, name: str) -> str:
    """Return why a file's start, ``head``, is of this format, else empty; ``name`` is the file's."""
    found = shape(head)
    for asked, answers in PAIRS.items():
        for answer in answers:
            if found.get(asked) == found.get(answer) and found.get(asked) in ("text", "array"):
                return f'JSON objects with "{asked}" and "{answer}"'
    return ""


def messages(file: ChatFile, notes: Notes) -> Iterator[Event]:
    """Yield the question and the answer of each row, after what was said before."""
    number = count(1)
    for row in rows(file, notes, ALL_KEYS):
        talk = ConversationFields(row, notes)
        talk.tell(row.value.get("system"), step(row.path, "system"))
        for path, pair in _history(talk):
            match talk.schema.elements(pair, path):
                case [(_, str(asked)), (_, str(answered))]:
                    talk.messages += [Message(USER, asked), Message(ASSISTANT, answered)]
                case [] if not isinstance(pair, list):
                    pass
                case _:
                    talk.schema.wrong(path, "must be two texts: the question, the answer")
        _pair(talk)
        yield from talk.events(number)


def _history(talk: ConversationFields) -> list[tuple[str, object]]:
    given = talk.row.value.get("history")
    return [] if given is None else talk.schema.elements(given, step(talk.row.path, "history"))


def _pair(talk: ConversationFields) -> None:
    """Add what a row asks and answers."""
    value, path = talk.row.value, talk.row.path
    asking = next((key for key in PAIRS if key in value), "instruction")
    answers = PAIRS[asking]
    answering = next((key for key in answers if key in value), answers[0])
    if isinstance(value.get(asking), list) and isinstance(value.get(answering), list):
        # As TRL writes it: both are arrays of messages.
        for key in (asking, answering):
            for at, item in talk.schema.items(value, key, path):
                talk.say(item, at)
        return
    asked = talk.schema.text(value, asking, path, blank=True)
    more = value.get("input")
    if asking == "instruction" and more is not None:
        asked = "\n".join(
            text for text in (asked, talk.schema.words(more, step(path, "input"), blank=True)) if text.strip()
        )
    talk.messages.append(Message(USER, asked))
    talk.messages.append(Message(ASSISTANT, talk.schema.text(value, answering, path, blank=True)))
